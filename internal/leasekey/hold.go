package leasekey

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/session"
)

// A Hold is somebody's ownership of a name by a key. Several holds can follow
// each other on one key.
type Hold struct {
	key    *Key
	cfg    HoldConfig
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  atomic.Pointer[error] // why it is no longer owned: released or lost

	mu      sync.Mutex
	guarded bool          // a transaction may be under way that carries the guard
	onEnd   []func(error) // told once the hold has ended
	letGo   chan struct{} // closed by Release if Revoke waits for it
}

// HoldConfig is what differs from one kind of hold to another.
type HoldConfig struct {
	Serial  int64             // counts the holds of one key from 0
	Guard   clientv3.Cmp      // holds while this hold owns
	Ahead   Ahead             // of it, when it was asked for
	Explain func(error) error // puts reasons into the words of the package above
	// Release gives the key up or on, once the hold has ended. guarded says that
	// a transaction with the guard may be under way.
	Release func(ctx context.Context, guarded bool) error
	// Lost is called when the key was lost before it was released.
	Lost func()
}

// Ahead is how many were ahead of an acquisition when it began.
type Ahead struct {
	Keys  int // of the name in etcd, that had to be gone or were let in before; -1 if that is not known
	Local int // goroutines of the same session
}

// NewHold makes the key's owner of a hold, unless the key was lost: then it
// returns why, or ErrForced if it was taken away. The hold's context has the values of ctx, but not its end.
func NewHold(ctx context.Context, key *Key, cfg HoldConfig) (*Hold, error) {
	h := &Hold{key: key, cfg: cfg}
	h.ctx, h.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	err := key.epoch.Err()
	if err == nil {
		err = key.heldBy(h)
	}
	if err != nil {
		h.cancel(err)
		return nil, err
	}
	return h, nil
}

// lose is told that the key is gone, or goes with its lease.
func (h *Hold) lose(cause error) {
	if h.End(cause) {
		h.cfg.Lost()
	}
}

// Asked returns a channel that is closed once somebody has asked for the hold's
// key.
func (h *Hold) Asked() <-chan struct{} { return h.key.Asked() }

// Epoch is the epoch that the hold belongs to.
func (h *Hold) Epoch() *session.Epoch { return h.key.epoch }

// Revision is the create revision of the hold's key.
func (h *Hold) Revision() int64 { return h.key.revision }

// Serial counts the holds of one key from 0.
func (h *Hold) Serial() int64 { return h.cfg.Serial }

// Ahead is how many were ahead when the hold was asked for.
func (h *Hold) Ahead() Ahead { return h.cfg.Ahead }

// Context ends with the ownership, with the explained reason as its cause. Its
// values are those of the context that the hold was acquired with.
func (h *Hold) Context() context.Context { return h.ctx }

// Valid tells whether the name is certainly still owned.
func (h *Hold) Valid() bool { return h.ended.Load() == nil && h.key.epoch.Valid() }

// Remaining is how long the name is certainly owned if etcd is not heard of
// again.
func (h *Hold) Remaining() time.Duration {
	if h.ended.Load() != nil {
		return 0
	}
	return h.key.epoch.Remaining()
}

// Err is why the name is no longer owned, ErrReleased after Release, or nil.
func (h *Hold) Err() error {
	if reason := h.ended.Load(); reason != nil {
		return *reason
	}
	return h.key.epoch.Err()
}

// Key is the name of the hold's key. Who knows it can compare it, so it counts
// as a guard.
func (h *Hold) Key() string {
	h.Guard()
	return h.key.name
}

// Guard is the comparison that holds while this hold owns. After the hold has
// ended it is one that never holds, because the key may have passed to another
// local holder.
func (h *Hold) Guard() clientv3.Cmp {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended.Load() != nil {
		return clientv3.Compare(clientv3.CreateRevision(h.key.name), "<", 0)
	}
	h.guarded = true
	return h.cfg.Guard
}

// End ends the ownership locally and tells whether it was this call that did.
func (h *Hold) End(reason error) bool {
	if !h.ended.CompareAndSwap(nil, &reason) {
		return false
	}
	cause := h.cfg.Explain(reason)
	h.cancel(cause)
	h.mu.Lock()
	tell := h.onEnd
	h.onEnd = nil
	h.mu.Unlock()
	for _, f := range tell {
		f(cause)
	}
	return true
}

// OnEnd has f called with the explained reason once the ownership has ended, in
// the goroutine that ends it; at once if it has ended. f must return at once.
func (h *Hold) OnEnd(f func(cause error)) {
	h.mu.Lock()
	reason := h.ended.Load()
	if reason == nil {
		// End sets the reason first, and looks for whom to tell afterwards.
		h.onEnd = append(h.onEnd, f)
	}
	h.mu.Unlock()
	if reason != nil {
		f(h.cfg.Explain(*reason))
	}
}

// Gone takes in that etcd has shown the hold's key to be gone, at whatever
// revision, and returns why the name is no longer owned. The hold ends at once,
// and not only when the session finds out by itself.
func (h *Hold) Gone(ctx context.Context) error {
	if err := h.Err(); err != nil {
		return err
	}
	cause := h.key.Missing(ctx)
	// Whoever ends the tracking tells of the loss; if it is a release that is
	// under way, that one finds the key gone.
	if h.key.epoch.Untrack(h.key.tracked) {
		h.key.lose(cause)
	}
	return cause
}

// Release gives the name up. Context and Valid end before anything else. It
// returns nil once that is done, the cause if the ownership was lost before,
// ErrReleased if it was released before, and an error that matches ErrPending
// if ctx ended before etcd had answered: the key is then removed in the
// background.
func (h *Hold) Release(ctx context.Context) error {
	if !h.End(ErrReleased) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.letGo != nil {
			close(h.letGo)
			h.letGo = nil
		}
		return h.Err()
	}
	h.key.letGo()
	return h.cfg.Release(ctx, h.wasGuarded())
}

// Revoke ends the ownership from outside, with that reason, and tells whether it
// was this call that did. Behind it the name is given up in the background, once
// the holder has released it or after the epoch's margin: whoever was told to
// stop has as long for it as after a loss.
func (h *Hold) Revoke(reason error) bool {
	h.mu.Lock()
	if h.letGo == nil { // before the end: a release that comes after it must find it
		h.letGo = make(chan struct{})
	}
	released := h.letGo
	h.mu.Unlock()
	if !h.End(reason) {
		return false
	}
	h.key.letGo()
	h.key.epoch.Background(func(ctx context.Context) {
		margin := time.NewTimer(h.key.epoch.Margin())
		defer margin.Stop()
		select {
		case <-margin.C:
		case <-released:
		case <-ctx.Done():
		}
		// Until it is answered, or the lease takes the key along.
		_ = h.cfg.Release(ctx, h.wasGuarded())
	})
	return true
}

// wasGuarded is final once the hold has ended.
func (h *Hold) wasGuarded() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.guarded
}
