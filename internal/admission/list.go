package admission

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Member is somebody in a queue as etcd shows it.
type Member struct {
	Key
	Lease    clientv3.LeaseID
	Value    []byte
	Admitted bool // it holds, or is about to find out that it may
}

// List returns who holds and who waits, the oldest first. It costs one
// linearizable range, with values.
func (q *RW) List(ctx context.Context) ([]Member, error) {
	members, err := q.list(ctx, q.prefix)
	if err != nil {
		return nil, err
	}
	var ahead []Key
	for i, m := range members {
		step := write(ahead, true)
		if !m.Writes() {
			step = read(ahead)
		}
		members[i].Admitted = step.Do == Admitted || m.again()
		ahead = append(ahead, m.Key)
	}
	return members, nil
}

// List is as that of RW, at the cost of two reads.
func (q *Permits) List(ctx context.Context) ([]Member, error) {
	limit, err := q.Limit(ctx)
	if err != nil {
		return nil, err
	}
	members, err := q.list(ctx, q.prefix+requests)
	if err != nil {
		return nil, err
	}
	var ahead []Key
	for i, m := range members {
		members[i].Admitted = m.again() || permits(Limit{N: limit}, m.Weight, ahead).Do == Admitted
		ahead = append(ahead, m.Key)
	}
	return members, nil
}

func (l *line) list(ctx context.Context, prefix string) ([]Member, error) {
	resp, err := l.session.Client().Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", prefix, err)
	}
	members := make([]Member, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		members[i] = Member{Key: l.member(kv), Lease: clientv3.LeaseID(kv.Lease), Value: kv.Value}
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Create, b.Create) })
	return members, nil
}
