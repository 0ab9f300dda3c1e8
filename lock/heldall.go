package lock

import (
	"context"
	"errors"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/gotenure/tenure/session"
)

// A HeldAll is the handle of several locks that were acquired together. It is
// safe for concurrent use.
type HeldAll struct {
	held   []*Held
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// Each returns the handles of the locks, in the order in which All was given
// them. They can be unlocked one by one, and Unlock then passes over them.
func (h *HeldAll) Each() []*Held { return slices.Clone(h.held) }

// Context is cancelled when the first of the locks is unlocked or lost, with the
// cause, as Held.Context is.
func (h *HeldAll) Context() context.Context { return h.ctx }

// Valid tells whether all of the locks are certainly still held, as Held.Valid
// does.
func (h *HeldAll) Valid() bool {
	return !slices.ContainsFunc(h.held, func(one *Held) bool { return !one.Valid() })
}

// Remaining is how long all of the locks are certainly held, as Held.Remaining
// is.
func (h *HeldAll) Remaining() time.Duration {
	least := h.held[0].Remaining()
	for _, one := range h.held {
		least = min(least, one.Remaining())
	}
	return least
}

// Guard returns the comparisons that hold while all of the locks are held, as
// Held.Guard does. They count towards the 128 that etcd takes in a transaction.
func (h *HeldAll) Guard() []clientv3.Cmp {
	var guard []clientv3.Cmp
	for _, one := range h.held {
		guard = append(guard, one.Guard()...)
	}
	return guard
}

// Unlock gives all of the locks up. What fails for one does not stop the others;
// the errors are those of Held.Unlock, joined. Locks that were unlocked one by
// one are passed over; if that is all of them, it returns ErrUnlocked.
//
// It costs what Held.Unlock costs, for each, several at a time.
func (h *HeldAll) Unlock(ctx context.Context) error {
	errs := make([]error, len(h.held))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, one := range h.held {
		group.Go(func() error {
			errs[i] = one.Unlock(ctx)
			return nil
		})
	}
	_ = group.Wait()
	failed := slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, ErrUnlocked) })
	if len(failed) == 0 {
		return ErrUnlocked
	}
	return errors.Join(failed...)
}

func (h *HeldAll) err() error {
	for _, one := range h.held {
		if err := one.err(); err != nil {
			return err
		}
	}
	return nil
}

func (h *HeldAll) epoch() *session.Epoch { return h.held[0].epoch() }
