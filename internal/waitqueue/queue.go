package waitqueue

import (
	"context"
	"fmt"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/semaphore"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/prefixwatch"
	"github.com/gotenure/tenure/session"
)

// frontLimit is how many keys the entering transaction returns. Up to that
// many members, a waiter needs no further read; beyond, the transaction stays
// cheap, which matters because etcd runs it where it runs all writes.
const frontLimit = 8

// A Queue is a name that sessions queue for. It has no state of its own; all
// that one session does on one prefix meets in the session.
type Queue struct {
	session *session.Session
	prefix  string // ends in a slash
	explain func(error) error
}

// New returns the queue below a prefix that ends in a slash. explain puts the
// reasons for which holds end into the words of the package that uses the
// queue, for the causes of their contexts.
func New(s *session.Session, prefix string, explain func(error) error) *Queue {
	return &Queue{session: s, prefix: prefix, explain: explain}
}

// Prefix is what all keys of the queue begin with.
func (q *Queue) Prefix() string { return q.prefix }

// turn is the local queue of a session for one prefix.
type turn struct{ sem *semaphore.Weighted }

type turnKey struct{ prefix string }

// join returns the local queue and a function that leaves it.
func (q *Queue) join() (*turn, func()) {
	value, leave := q.session.Share(turnKey{q.prefix}, func() any {
		return &turn{sem: semaphore.NewWeighted(1)}
	})
	return value.(*turn), leave
}

// Acquire waits until the caller owns the name. Among the goroutines of a
// session it is first come first served; among sessions the order is that in
// which their keys were created. The hold's context takes its values from ctx,
// but not its end.
//
// After an error nothing of the attempt is left in etcd, or it is being
// removed. If the epoch or the key was lost while waiting, the error matches
// what Lost reports; the place in the queue is gone then.
func (q *Queue) Acquire(ctx context.Context, value string) (*Hold, error) {
	local, leave := q.join()
	if err := local.sem.Acquire(ctx, 1); err != nil {
		leave()
		return nil, fmt.Errorf("in the local queue: %w", context.Cause(ctx))
	}
	h, err := q.prepare(ctx, local, leave)
	if err != nil {
		return nil, err
	}
	view, err := q.enter(ctx, h, value, nil)
	if err == nil {
		err = q.waitTurn(ctx, h, view)
	}
	return h.result(err)
}

// Try makes the caller the owner if nobody owns or waits, and otherwise
// returns ErrBusy. It never queues up. It costs one transaction, none if a
// goroutine of the same session is ahead.
func (q *Queue) Try(ctx context.Context, value string) (*Hold, error) {
	local, leave := q.join()
	if !local.sem.TryAcquire(1) {
		leave()
		return nil, ErrBusy
	}
	h, err := q.prepare(ctx, local, leave)
	if err != nil {
		return nil, err
	}
	free := clientv3.Compare(clientv3.CreateRevision(q.prefix), "=", 0).WithPrefix()
	_, err = q.enter(ctx, h, value, &free)
	if err == nil {
		err = h.watchOver()
	}
	return h.result(err)
}

// prepare makes the hold of an acquisition that has the local turn.
func (q *Queue) prepare(ctx context.Context, local *turn, leave func()) (*Hold, error) {
	done := sync.OnceFunc(func() {
		local.sem.Release(1)
		leave()
	})
	epoch, err := q.session.Epoch(ctx)
	if err != nil {
		done()
		return nil, err
	}
	h := &Hold{Epoch: epoch, Key: keys.Member(q.prefix, epoch.Lease()), explain: q.explain, done: done}
	h.ctx, h.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return h, nil
}

// waitTurn waits until nobody is ahead of the hold's key.
func (q *Queue) waitTurn(ctx context.Context, h *Hold, view View) error {
	if err := h.watchOver(); err != nil {
		return err
	}
	var place Place
	step := place.Enter(Key{Name: h.Key, Create: h.revision}, view)
	if step.Do == Granted {
		return nil
	}
	// The wait also ends when the key is lost, alone or with the epoch.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.ctx, func() { cancel(h.Err()) })()
	for {
		switch step.Do {
		case Granted:
			return nil
		case Evicted:
			return h.evicted(ctx)
		case Look:
			view, err := q.look(ctx, h, step.At)
			if err != nil {
				return err
			}
			step = place.Looked(view)
		case Await:
			rev, err := q.await(ctx, h, step)
			if err != nil {
				return err
			}
			step = place.Ended(rev)
		}
	}
}

// look reads the own key and the two ahead of it, at revision rev or later.
// The range is served from memory, outside of the loop that applies writes.
func (q *Queue) look(ctx context.Context, h *Hold, rev int64) (View, error) {
	for failures := 0; ; failures++ {
		resp, err := prefixwatch.ReadAtLeast(ctx, q.session.Client(), rev, q.prefix,
			clientv3.WithPrefix(), clientv3.WithKeysOnly(),
			clientv3.WithMaxCreateRev(h.revision),
			clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend),
			clientv3.WithLimit(3))
		if err == nil {
			return View{Revision: resp.Header.Revision, Keys: members(resp), Whole: !resp.More}, nil
		}
		if ctx.Err() != nil {
			return View{}, context.Cause(ctx)
		}
		if refused(err) {
			return View{}, fmt.Errorf("read the queue %q: %w", q.prefix, err)
		}
		pause(ctx, failures)
	}
}

// await waits until the key that step names is gone and returns a revision at
// which it was. Only one waiter watches each key, so a release wakes one.
func (q *Queue) await(ctx context.Context, h *Hold, step Step) (int64, error) {
	watch := prefixwatch.Open(ctx, q.session.Client(), prefixwatch.Config{
		Key: step.Behind.Name, KeysOnly: true, NoPuts: true, From: step.At, Probe: h.Epoch.TTL(),
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
