package leaderworker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/session"
)

// A hold is the ownership of one shard by one owner key.
type hold struct {
	shard    string
	key      string
	revision int64 // the key's create revision
	epoch    *session.Epoch
	tracked  *session.Tracked

	over   atomic.Bool // it is no longer owned
	owned  context.Context
	disown context.CancelCauseFunc
	work   context.Context // ends earlier: when the shard is revoked
	stop   context.CancelCauseFunc

	// Of the loop.
	started bool // Work was called
	since   time.Time
	told    time.Time   // when Work was told to stop
	late    *time.Timer // until Work is reported
}

// newHold makes the hold of a key that was created. Its contexts have the
// values of ctx, but not its end. lost is called when the key is gone, or goes
// with its lease; it must return at once.
func newHold(ctx context.Context, e *session.Epoch, shard, key string, revision int64, lost func(*hold)) (*hold, error) {
	h := &hold{shard: shard, key: key, revision: revision, epoch: e, since: time.Now()}
	h.owned, h.disown = context.WithCancelCause(context.WithoutCancel(ctx))
	h.work, h.stop = context.WithCancelCause(h.owned)
	h.tracked = &session.Tracked{Key: key, Revision: revision, Lost: func(cause error) {
		h.end(fmt.Errorf("%w: %q: %w", ErrLost, shard, cause))
		lost(h)
	}}
	if err := e.Track(h.tracked); err != nil {
		h.end(fmt.Errorf("%w: %q: %w", ErrLost, shard, err))
		return nil, err
	}
	return h, nil
}

// end ends the ownership locally.
func (h *hold) end(cause error) {
	h.over.Store(true)
	h.disown(cause)
	h.stop(cause) // frees what the context holds; its cause is set by now
}

// Valid tells whether the shard is certainly still owned.
func (h *hold) Valid() bool { return !h.over.Load() && h.epoch.Valid() }

// Remaining is how long it is certainly owned if etcd is not heard of again.
func (h *hold) Remaining() time.Duration {
	if h.over.Load() {
		return 0
	}
	return h.epoch.Remaining()
}

func (h *hold) guard() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(h.key), "=", h.revision)
}

// revoke tells Work to stop; the shard is still owned.
func (h *hold) revoke(cause error) { h.stop(cause) }

// wasLost tells whether the ownership has ended in another way than by release.
func (h *hold) wasLost() bool { return errors.Is(context.Cause(h.owned), ErrLost) }

// handle is what Work and the observer get.
func (h *hold) handle() Shard { return Shard{name: h.shard, hold: h} }
