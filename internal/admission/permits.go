package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/prefixwatch"
	"github.com/gotenure/tenure/session"
)

// What the keys of a semaphore begin with, behind the prefix.
const (
	requests = "q/"
	limits   = "limit/"
)

// A LimitError says that others have agreed on another limit.
type LimitError struct{ Want, Agreed int64 }

func (e *LimitError) Error() string {
	return fmt.Sprintf("the limit is %d, not %d", e.Agreed, e.Want)
}

// ErrTooMany: more permits were asked for than the limit.
var ErrTooMany = errors.New("more permits than the limit")

// Permits is the queue of a semaphore.
type Permits struct {
	line
	want   int64        // the limit that the caller expects
	agreed atomic.Int64 // the limit last seen, 0 before the first use
}

// NewPermits returns the queue below a prefix that ends in a slash, for users
// who expect that limit.
func NewPermits(s *session.Session, prefix string, limit int64, explain func(error) error) *Permits {
	return &Permits{line: line{session: s, prefix: prefix, explain: explain}, want: limit}
}

// Prefix is what all keys of the semaphore begin with.
func (q *Permits) Prefix() string { return q.prefix }

func (q *Permits) limitKey(n int64) string { return q.prefix + limits + strconv.FormatInt(n, 10) }

func (q *Permits) getLimit() clientv3.Op {
	return clientv3.OpGet(q.prefix+limits, clientv3.WithPrefix(), clientv3.WithKeysOnly())
}

// limit is what has been agreed on, the zero Limit if nothing has.
func (q *Permits) limit(kvs []*mvccpb.KeyValue) Limit {
	for _, kv := range kvs {
		n, err := strconv.ParseInt(strings.TrimPrefix(string(kv.Key), q.prefix+limits), 10, 64)
		if err == nil {
			return Limit{N: n, Since: kv.CreateRevision}
		}
	}
	return Limit{}
}

// Acquire waits until the caller holds so many permits. It is first come first
// served, whatever the weights. After an error nothing of the attempt is left in
// etcd, or it is being removed.
//
// It costs one transaction if few others are there and the permits are free;
// otherwise a read, and for each of the at most two things to wait for a watch
// and a read, and one write in the background once it is admitted.
func (q *Permits) Acquire(ctx context.Context, weight int64, value func() string) (*leasekey.Hold, error) {
	value = sync.OnceValue(value) // it is written again once it was admitted
	return q.attempt(ctx, weight, func(p *place) error { return q.enter(ctx, p, weight, value) })
}

// Try makes the caller the holder if it need not wait, and otherwise returns
// ErrBusy. It never queues up. It costs a read and a transaction.
func (q *Permits) Try(ctx context.Context, weight int64, value func() string) (*leasekey.Hold, error) {
	return q.attempt(ctx, weight, func(p *place) error { return q.enterFree(ctx, p, weight, value) })
}

func (q *Permits) attempt(ctx context.Context, weight int64, enter func(*place) error) (*leasekey.Hold, error) {
	epoch, err := q.session.Epoch(ctx)
	if err != nil {
		return nil, err
	}
	p := q.begin(epoch, requests+strconv.FormatInt(weight, 10)+"/")
	if err := enter(p); err != nil {
		p.Discard(p.free)
		return nil, err
	}
	hold, err := q.hold(ctx, p, 0, p.Guard())
	if err != nil {
		p.Discard(p.free)
		return nil, err
	}
	return hold, nil
}

// enter creates the key and waits until it is admitted.
func (q *Permits) enter(ctx context.Context, p *place, weight int64, value func() string) error {
	for {
		limit, err := q.expected(ctx, weight)
		if err != nil {
			return err
		}
		created, err := leasekey.Create(ctx, leasekey.Creation{
			Keys: []*leasekey.Key{p.Key}, Value: value,
			If: []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(q.limitKey(limit)), ">", 0)},
			Then: []clientv3.Op{clientv3.OpGet(q.prefix+requests,
				clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(frontLimit))},
			Else: []clientv3.Op{q.getLimit()},
		})
		switch {
		case err != nil:
			return err
		case !created.Done:
			if err := q.agree(ctx, q.limit(created.Answers[0].Kvs)); err != nil {
				return err
			}
			continue
		}
		p.ahead = others(created, true)
		if err := p.Track(); err != nil {
			return err
		}
		admitted, err := q.admittedAtOnce(ctx, p, limit, weight, created)
		if admitted || err != nil {
			return err
		}
		return q.wait(ctx, p, weight, value, created.Revision)
	}
}

// admittedAtOnce tells whether the key was admitted from the revision on at
// which it was created. Then nobody can have seen it wait.
func (q *Permits) admittedAtOnce(ctx context.Context, p *place, limit, weight int64, created leasekey.Created) (bool, error) {
	var ahead []Key
	if created.Answers != nil && !created.Answers[0].More {
		ahead = q.ahead(created.Answers[0].Kvs, p.Revision())
	} else {
		v, err := q.look(ctx, p, created.Revision, clientv3.WithRev(created.Revision))
		if errors.Is(err, rpctypes.ErrCompacted) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		ahead = v.ahead
	}
	return permits(Limit{N: limit}, weight, ahead).Do == Admitted, nil
}

// enterFree creates the key if it is admitted at once. What may be ahead was
// read before, and the transaction compares that nobody has come since: who has
// gone meanwhile only makes room.
func (q *Permits) enterFree(ctx context.Context, p *place, weight int64, value func() string) error {
	for {
		limit, err := q.expected(ctx, weight)
		if err != nil {
			return err
		}
		resp, err := q.read(ctx, latest, q.getLimit(),
			clientv3.OpGet(q.prefix+requests, clientv3.WithPrefix(), clientv3.WithKeysOnly()))
		if err != nil {
			return err
		}
		if now := q.limit(resp.Responses[0].GetResponseRange().Kvs); now.N != limit {
			if err := q.agree(ctx, now); err != nil {
				return err
			}
			continue
		}
		rev := resp.Header.Revision
		ahead := q.ahead(resp.Responses[1].GetResponseRange().Kvs, rev+1)
		if permits(Limit{N: limit}, weight, ahead).Do != Admitted {
			return ErrBusy
		}
		p.ahead = len(ahead)
		created, err := leasekey.Create(ctx, leasekey.Creation{
			Keys: []*leasekey.Key{p.Key}, Value: value,
			If: []clientv3.Cmp{
				clientv3.Compare(clientv3.CreateRevision(q.limitKey(limit)), ">", 0),
				clientv3.Compare(clientv3.CreateRevision(q.prefix+requests), "<", rev+1).WithPrefix(),
			},
		})
		switch {
		case err != nil:
			return err
		case created.Done:
			return p.Track()
		}
	}
}

// A view is what a read has shown.
type view struct {
	limit Limit
	ahead []Key
	rev   int64 // of the store at the read; 0: nothing was read
}

// wait waits until the key is admitted. It was not at revision rev.
func (q *Permits) wait(ctx context.Context, p *place, weight int64, value func() string, rev int64) error {
	ctx, cancel, err := p.watching(ctx)
	if err != nil {
		return err
	}
	defer cancel(nil)
	for {
		v, err := q.look(ctx, p, rev)
		if err != nil {
			return err
		}
		q.agreed.Store(v.limit.N)
		if weight > v.limit.N {
			return fmt.Errorf("%w: %d of %d", ErrTooMany, weight, v.limit.N)
		}
		step := permits(v.limit, weight, v.ahead)
		admitted := step.Do == Admitted
		switch step.Do {
		case Room:
			admitted, rev, err = q.room(ctx, p, v.limit, weight, v.rev)
		case Await:
			rev, _, err = q.await(ctx, p.Epoch(), step.Behind, v.rev)
		}
		if err != nil {
			return err
		}
		if admitted {
			// Somebody behind may have seen it wait, and awaits it.
			q.announce(p, value())
			return nil
		}
	}
}

// look reads who is ahead, and the limit, at revision rev or later.
func (q *Permits) look(ctx context.Context, p *place, rev int64, opts ...clientv3.OpOption) (view, error) {
	resp, err := q.read(ctx, rev, q.getLimit(), clientv3.OpGet(q.prefix+requests, append(opts,
		clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithMaxCreateRev(p.Revision()))...))
	if err != nil {
		return view{}, err
	}
	kvs := resp.Responses[1].GetResponseRange().Kvs
	for _, kv := range kvs {
		if string(kv.Key) == p.Name() && kv.CreateRevision == p.Revision() {
			limit := q.limit(resp.Responses[0].GetResponseRange().Kvs)
			return view{limit: limit, ahead: q.ahead(kvs, p.Revision()), rev: resp.Header.Revision}, nil
		}
	}
	return view{}, p.Missing(ctx)
}

// room watches what is ahead until that leaves room, or the limit changes: then
// it returns false, and a revision at which it had.
func (q *Permits) room(ctx context.Context, p *place, limit Limit, weight int64, from int64) (bool, int64, error) {
	watch := prefixwatch.Open(ctx, q.session.Client(), prefixwatch.Config{
		Key: q.prefix, Prefix: true, KeysOnly: true, NoPuts: true, From: from, Probe: p.Epoch().TTL(),
	})
	defer watch.Close()
	ahead := make(map[string]Key)
	for {
		update, err := watch.Next(ctx) // the first shows what is there
		if err != nil {
			return false, 0, ended(ctx, err)
		}
		for _, ev := range update.Events {
			name, gone := string(ev.Kv.Key), ev.Type == clientv3.EventTypeDelete
			switch {
			case strings.HasPrefix(name, q.prefix+limits):
				if gone || q.limit([]*mvccpb.KeyValue{ev.Kv}) != limit {
					return false, update.Revision, nil
				}
			case name == p.Name() && gone:
				return false, 0, p.Missing(ctx)
			case gone || ev.Kv.CreateRevision >= p.Revision(): // or made anew, behind
				delete(ahead, name)
			default:
				ahead[name] = q.member(ev.Kv)
			}
		}
		if permits(limit, weight, slices.Collect(maps.Values(ahead))).Do == Admitted {
			return true, update.Revision, nil
		}
	}
}

// announce writes the key of a request that was admitted after waiting again,
// which tells the next one in the queue. Until that is done the next one waits,
// so it goes on in the background until it is, or the key is gone.
func (q *Permits) announce(p *place, value string) {
	own := p.Guard()
	put := clientv3.OpPut(p.Name(), value, clientv3.WithLease(p.Epoch().Lease()))
	p.Epoch().Background(func(ctx context.Context) {
		for failures := 0; ctx.Err() == nil; failures++ {
			txn, cancel := leasekey.Begin(ctx, q.session.Client())
			_, err := txn.If(own).Then(put).Commit()
			cancel()
			if err == nil || leasekey.Refused(err) {
				p.Epoch().Report(err)
				return
			}
			leasekey.Pause(ctx, failures)
		}
	})
}
