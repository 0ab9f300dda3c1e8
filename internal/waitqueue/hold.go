package waitqueue

import (
	"context"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/session"
)

// A Hold is one holder's ownership of a queue's name. Several holds of one
// session can follow each other on one key.
type Hold struct {
	claim  *claim
	queue  *Queue
	serial int64
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  atomic.Pointer[error] // why it is no longer owned: released or lost
}

// newHold makes a hold whose context has the values of ctx.
func newHold(ctx context.Context, q *Queue, c *claim) *Hold {
	h := &Hold{claim: c, queue: q}
	h.ctx, h.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return h
}

// Epoch is the epoch that the hold belongs to.
func (h *Hold) Epoch() *session.Epoch { return h.claim.epoch }

// Revision is the create revision of the hold's key.
func (h *Hold) Revision() int64 { return h.claim.revision }

// Serial counts the holds of one key from 0.
func (h *Hold) Serial() int64 { return h.serial }

// Context ends with the ownership, with the explained reason as its cause. Its
// values are those of the context that was given to Acquire.
func (h *Hold) Context() context.Context { return h.ctx }

// Valid tells whether the name is certainly still owned.
func (h *Hold) Valid() bool { return h.ended.Load() == nil && h.claim.epoch.Valid() }

// Remaining is how long the name is certainly owned if etcd is not heard of
// again.
func (h *Hold) Remaining() time.Duration {
	if h.ended.Load() != nil {
		return 0
	}
	return h.claim.epoch.Remaining()
}

// Err is why the name is no longer owned, ErrReleased after Release, or nil.
func (h *Hold) Err() error {
	if reason := h.ended.Load(); reason != nil {
		return *reason
	}
	return h.claim.epoch.Err()
}

// Key is the hold's key. Who knows it can compare it, so it counts as a guard.
func (h *Hold) Key() string {
	h.Guard()
	return h.claim.key
}

// Guard is the comparison that holds while this hold owns. After the hold has
// ended it is one that never holds, because the key may have passed to another
// local holder.
func (h *Hold) Guard() clientv3.Cmp {
	c := h.claim
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.ended.Load() != nil {
		return clientv3.Compare(clientv3.CreateRevision(c.key), "<", 0)
	}
	c.guarded = true
	return c.guard()
}

// end ends the ownership locally and tells whether it was this call that did.
func (h *Hold) end(reason error) bool {
	if !h.ended.CompareAndSwap(nil, &reason) {
		return false
	}
	h.cancel(h.queue.explain(reason))
	return true
}

// Release gives the name up. Context and Valid end before anything else. If
// another goroutine of the session waits, it gets the key as it is, see passOn;
// if the queue retains keys and nobody else waits, the key stays, see keep;
// otherwise it is deleted, which costs one transaction.
//
// Release returns nil once that is done, the cause if the ownership was lost
// before, ErrReleased if it was released before, and an error that matches
// ErrPending if ctx ended before etcd had answered: the key is then removed in
// the background.
func (h *Hold) Release(ctx context.Context) error {
	if !h.end(ErrReleased) {
		return h.Err()
	}
	c := h.claim
	if c.drop() && (h.queue.passOn(ctx, c) || h.queue.keep(c)) {
		return nil
	}
	return c.release(ctx)
}
