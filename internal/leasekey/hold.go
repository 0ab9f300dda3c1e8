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
	guarded bool // a transaction may be under way that carries the guard
}

// HoldConfig is what differs from one kind of hold to another.
type HoldConfig struct {
	Serial  int64             // counts the holds of one key from 0
	Guard   clientv3.Cmp      // holds while this hold owns
	Explain func(error) error // puts reasons into the words of the package above
	// Release gives the key up or on, once the hold has ended. guarded says that
	// a transaction with the guard may be under way.
	Release func(ctx context.Context, guarded bool) error
	// Lost is called when the key was lost before it was released.
	Lost func()
}

// NewHold makes the key's owner of a hold, unless the key was lost: then it
// returns why. The hold's context has the values of ctx, but not its end.
func NewHold(ctx context.Context, key *Key, cfg HoldConfig) (*Hold, error) {
	h := &Hold{key: key, cfg: cfg}
	h.ctx, h.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	err := key.epoch.Err()
	if err == nil {
		err = key.OnLoss(func(cause error) {
			if h.End(cause) {
				cfg.Lost()
			}
		})
	}
	if err != nil {
		h.cancel(err)
		return nil, err
	}
	return h, nil
}

// Epoch is the epoch that the hold belongs to.
func (h *Hold) Epoch() *session.Epoch { return h.key.epoch }

// Revision is the create revision of the hold's key.
func (h *Hold) Revision() int64 { return h.key.revision }

// Serial counts the holds of one key from 0.
func (h *Hold) Serial() int64 { return h.cfg.Serial }

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
	h.cancel(h.cfg.Explain(reason))
	return true
}

// Release gives the name up. Context and Valid end before anything else. It
// returns nil once that is done, the cause if the ownership was lost before,
// ErrReleased if it was released before, and an error that matches ErrPending
// if ctx ended before etcd had answered: the key is then removed in the
// background.
func (h *Hold) Release(ctx context.Context) error {
	if !h.End(ErrReleased) {
		return h.Err()
	}
	// A loss from here on finds nobody who holds. One that came just before has
	// found this hold ended, and Release says so below.
	_ = h.key.OnLoss(nil)
	return h.cfg.Release(ctx, h.wasGuarded())
}

// wasGuarded is final once the hold has ended.
func (h *Hold) wasGuarded() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.guarded
}
