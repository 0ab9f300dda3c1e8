package waitqueue

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
)

// A Member is somebody in the queue as etcd shows it.
type Member struct {
	Key      string
	Lease    clientv3.LeaseID // 0 if the key hangs on none
	Revision int64            // the key's create revision
	Value    []byte
}

// List returns who owns and who waits below a prefix, the owner first. It
// costs one linearizable range, with values.
func List(ctx context.Context, client *clientv3.Client, prefix string) ([]Member, error) {
	resp, err := client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", prefix, err)
	}
	members := make([]Member, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		lease := clientv3.LeaseID(kv.Lease)
		if lease == 0 {
			lease, _ = keys.ParseMember(prefix, string(kv.Key))
		}
		members[i] = Member{Key: string(kv.Key), Lease: lease, Revision: kv.CreateRevision, Value: kv.Value}
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Revision, b.Revision) })
	return members, nil
}
