package waitqueue

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/session"
)

// A Hold is the ownership of a queue's name, or the way there: it exists from
// the moment its key may exist.
type Hold struct {
	Epoch *session.Epoch
	Key   string

	revision int64 // the key's create revision, 0 until it is known
	ctx      context.Context
	cancel   context.CancelCauseFunc
	ended    atomic.Pointer[error] // why it is no longer owned: released, lost or given up
	explain  func(error) error
	tracked  *session.Tracked
	doubt    *session.Fence // of an attempt to create the key whose outcome is unknown
	done     func()         // passes the local turn on
}

// Revision is the create revision of the hold's key.
func (h *Hold) Revision() int64 { return h.revision }

// Context ends with the ownership, with the explained reason as its cause. Its
// values are those of the context that was given to Acquire.
func (h *Hold) Context() context.Context { return h.ctx }

// Valid tells whether the name is certainly still owned.
func (h *Hold) Valid() bool { return h.ended.Load() == nil && h.Epoch.Valid() }

// Remaining is how long the name is certainly owned if etcd is not heard of
// again.
func (h *Hold) Remaining() time.Duration {
	if h.ended.Load() != nil {
		return 0
	}
	return h.Epoch.Remaining()
}

// Guard is the comparison that holds while the key is the one of this hold.
func (h *Hold) Guard() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(h.Key), "=", h.revision)
}

// Err is why the name is no longer owned, ErrReleased after Release, or nil.
func (h *Hold) Err() error {
	if reason := h.ended.Load(); reason != nil {
		return *reason
	}
	return h.Epoch.Err()
}

// end ends the ownership locally and tells whether it was this call that did.
func (h *Hold) end(reason error) bool {
	if !h.ended.CompareAndSwap(nil, &reason) {
		return false
	}
	h.cancel(h.explain(reason))
	return true
}

// watchOver has the session tell when the key is gone. The local turn is free
// then: whoever comes next enters with a key of its own.
func (h *Hold) watchOver() error {
	h.tracked = &session.Tracked{Key: h.Key, Revision: h.revision, Lost: func(cause error) {
		h.end(cause)
		h.done()
	}}
	if err := h.Epoch.Track(h.tracked); err != nil {
		h.tracked = nil
		return err
	}
	return nil
}

// Release gives the name up. Context and Valid end before anything is sent.
// It returns nil once the key is deleted, the cause if the ownership was lost
// before, ErrReleased if it was released before, and an error that matches
// ErrPending if ctx ended before etcd had answered: the key is then removed in
// the background. It costs one transaction.
func (h *Hold) Release(ctx context.Context) error {
	if !h.end(ErrReleased) {
		return h.Err()
	}
	if !h.Epoch.Untrack(h.tracked) {
		// It was lost in this very moment, with the lease or alone.
		if err := h.Epoch.Err(); err != nil {
			return err
		}
		return h.deleted()
	}
	removed, err := h.remove(ctx)
	switch {
	case err != nil && h.Epoch.Context().Err() != nil:
		h.done()
		return fmt.Errorf("%w with its lease: %w", ErrPending, h.Epoch.Err())
	case err != nil:
		h.removeLater()
		return fmt.Errorf("%w: %w", ErrPending, err)
	}
	h.done()
	if !removed {
		return h.deleted()
	}
	return nil
}

func (h *Hold) deleted() error { return &session.KeyError{Key: h.Key, Revision: h.revision} }

// evicted says why the own key is gone: with its lease, or alone.
func (h *Hold) evicted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	left, err := h.Epoch.Session().Client().TimeToLive(ctx, h.Epoch.Lease())
	if err == nil && left.TTL < 0 { // 0 is less than a second
		h.Epoch.Report(rpctypes.ErrLeaseNotFound)
	}
	if err := h.Epoch.Err(); err != nil {
		return err
	}
	return h.deleted()
}

// remove deletes the key, if it is the one of this hold, trying until ctx or
// the epoch ends. It tells whether it was there, or may have been.
func (h *Hold) remove(ctx context.Context) (bool, error) {
	client := h.Epoch.Session().Client()
	for failures := 0; ; failures++ {
		txn, cancel := begin(ctx, client)
		resp, err := txn.If(h.Guard()).Then(clientv3.OpDelete(h.Key)).Commit()
		cancel()
		if err == nil {
			// An earlier attempt may have deleted it without an answer.
			return resp.Succeeded || failures > 0, nil
		}
		h.Epoch.Report(err)
		pause(ctx, failures)
		if ended := cause(ctx, h.Epoch); ended != nil {
			return false, fmt.Errorf("%w (last attempt: %w)", ended, err)
		}
	}
}

// removeLater removes the key in the background and then passes the local turn
// on. It gives up only when the epoch ends, and the lease takes the key along.
func (h *Hold) removeLater() {
	h.Epoch.Background(func(ctx context.Context) {
		defer h.done()
		_, _ = h.remove(ctx)
	})
}

// result is what an acquisition returns: the hold, or an error after cleaning
// up.
func (h *Hold) result(err error) (*Hold, error) {
	if err == nil && !h.Valid() {
		err = h.Err()
	}
	if err == nil {
		return h, nil
	}
	h.giveUp(err)
	return nil, err
}

// giveUp ends an unsuccessful acquisition and removes what it may have left in
// etcd. It waits a moment for that, so that normally nothing is left when
// Acquire returns; then the background goes on.
func (h *Hold) giveUp(reason error) {
	h.end(reason)
	if h.tracked != nil && !h.Epoch.Untrack(h.tracked) {
		return // the key is gone, and the turn was passed on
	}
	if h.revision == 0 && h.doubt == nil {
		h.done()
		return
	}
	over := make(chan struct{})
	h.Epoch.Background(func(ctx context.Context) {
		defer close(over)
		defer h.done()
		// Both fail only if the epoch ends, and then the lease takes the key
		// along.
		if h.doubt != nil && !h.settle(ctx, *h.doubt) {
			return
		}
		if h.revision > 0 {
			_, _ = h.remove(ctx)
		}
	})
	grace := time.NewTimer(giveUpGrace)
	defer grace.Stop()
	select {
	case <-over:
	case <-grace.C:
	}
}

// settle finds the key's revision out, trying until ctx ends.
func (h *Hold) settle(ctx context.Context, f session.Fence) bool {
	for failures := 0; cause(ctx, h.Epoch) == nil; failures++ {
		revision, err := h.Epoch.Settle(ctx, f, h.Key)
		if err == nil {
			h.revision = revision
			return true
		}
		h.Epoch.Report(err)
		pause(ctx, failures)
	}
	return false
}

// cause is why nothing more can be done under ctx for an epoch, or nil.
func cause(ctx context.Context, e *session.Epoch) error {
	if err := e.Context().Err(); err != nil {
		return context.Cause(e.Context())
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Lost tells whether an error of Acquire or Release means that the ownership
// or the place in the queue was lost, rather than given up.
func Lost(err error) bool {
	var deleted *session.KeyError
	return errors.Is(err, session.ErrLost) || errors.Is(err, session.ErrClosed) || errors.As(err, &deleted)
}
