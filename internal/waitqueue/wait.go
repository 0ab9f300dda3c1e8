package waitqueue

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/prefixwatch"
)

// waitTurn waits until nobody is ahead of the claim's key.
func (q *Queue) waitTurn(ctx context.Context, c *claim, view View) error {
	if err := c.Track(); err != nil {
		return err
	}
	place := Place{movable: c.movable}
	step := place.Enter(Key{Name: c.Name(), Create: c.Revision()}, view)
	if step.Do == Granted {
		return nil
	}
	// The wait also ends when the key is lost, alone or with the epoch.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := c.OnLoss(func(cause error) { cancel(cause) }); err != nil {
		return err
	}
	for {
		switch step.Do {
		case Granted:
			return nil
		case Evicted:
			return c.Missing(ctx)
		case Look:
			view, err := q.look(ctx, c, step.At)
			if err != nil {
				return err
			}
			step = place.Looked(view)
		case Await:
			rev, err := q.await(ctx, c, step)
			if err != nil {
				return err
			}
			step = place.Ended(rev)
		}
	}
}

// look reads the own key and the two ahead of it, at revision rev or later.
// The range is served from memory, outside of the loop that applies writes.
func (q *Queue) look(ctx context.Context, c *claim, rev int64) (View, error) {
	for failures := 0; ; failures++ {
		resp, err := prefixwatch.ReadAtLeast(ctx, q.session.Client(), rev, q.prefix,
			clientv3.WithPrefix(), clientv3.WithKeysOnly(),
			clientv3.WithMaxCreateRev(c.Revision()),
			clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend),
			clientv3.WithLimit(3))
		if err == nil {
			return View{Revision: resp.Header.Revision, Keys: members(resp), Whole: !resp.More}, nil
		}
		if ctx.Err() != nil {
			return View{}, context.Cause(ctx)
		}
		if leasekey.Refused(err) {
			return View{}, fmt.Errorf("read the queue %q: %w", q.prefix, err)
		}
		leasekey.Pause(ctx, failures)
	}
}

// await waits until the key that step names is gone and returns a revision at
// which it was. Only one waiter watches each key, so a release wakes one.
func (q *Queue) await(ctx context.Context, c *claim, step Step) (int64, error) {
	watch := prefixwatch.Open(ctx, q.session.Client(), prefixwatch.Config{
		Key: step.Behind.Name, KeysOnly: true, NoPuts: true, From: step.At, Probe: c.Epoch().TTL(),
	})
	defer watch.Close()
	for first := true; ; first = false {
		update, err := watch.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return 0, err
		}
		if gone(update, step.Behind, first) {
			return update.Revision, nil
		}
	}
}

// gone tells whether an update shows that the key of that create revision is
// gone; the same name may have been created anew since. The first update shows
// what is there. Later ones show what has changed, also those that say Reset:
// one without events means that nothing has.
func gone(update prefixwatch.Update, key Key, first bool) bool {
	for _, ev := range update.Events {
		switch {
		case ev.Type == clientv3.EventTypeDelete, ev.Kv.CreateRevision > key.Create:
			return true
		case ev.Kv.CreateRevision == key.Create:
			return false
		}
	}
	return first
}

func members(resp *clientv3.GetResponse) []Key {
	members := make([]Key, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		members[i] = Key{Name: string(kv.Key), Create: kv.CreateRevision}
	}
	return members
}
