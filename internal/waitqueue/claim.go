package waitqueue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/session"
)

// A claim is the session's key in the queue, from the moment it may exist until
// it certainly does not: first a place, then the ownership, which passes through
// the hands of one local holder after the other. Only who has the seat's turn
// uses it.
type claim struct {
	seat  *seat
	epoch *session.Epoch
	key   string

	revision int64          // the key's create revision, 0 until it is known
	doubt    *session.Fence // of an attempt to create the key whose outcome is unknown
	tracked  *session.Tracked
	fresh    time.Time // when it was last known that nobody else waits, or was granted
	keeper   *keeper   // nil until the key was first kept

	reclaimed bool // it must go at its next release; guarded by the seat's mutex

	mu      sync.Mutex
	holder  *Hold       // nil while it waits or passes from one to the next
	wake    func(error) // ends the waiting when the key is lost
	lost    error       // why the key is gone or goes with its lease
	serial  int64       // of the local holders, from 0
	guarded bool        // a transaction of a holder may be under way that compares the key
}

// guard is the comparison that holds while the key is the one of this claim.
func (c *claim) guard() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(c.key), "=", c.revision)
}

// watchOver has the session tell when the key is gone.
func (c *claim) watchOver() error {
	tracked := &session.Tracked{Key: c.key, Revision: c.revision, Lost: c.lose}
	if err := c.epoch.Track(tracked); err != nil {
		return err
	}
	c.tracked = tracked
	return nil
}

// lose is told by the session that the key is gone, or goes with its lease. If
// somebody held it, the turn is free: whoever comes next enters with a key of
// its own.
func (c *claim) lose(cause error) {
	c.mu.Lock()
	c.lost = cause
	holder, wake := c.holder, c.wake
	c.mu.Unlock()
	if wake != nil {
		wake(cause)
	}
	if holder != nil && holder.end(cause) {
		c.seat.leave()
	}
}

// onLoss sets what ends a wait; nil when it is over.
func (c *claim) onLoss(wake func(error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake = wake
	if c.lost != nil && wake != nil {
		wake(c.lost)
	}
}

// hold makes the claim's owner of h, unless the key was lost.
func (c *claim) hold(h *Hold) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		return c.lost
	}
	if err := c.epoch.Err(); err != nil {
		return err
	}
	c.holder = h
	h.serial = c.serial
	return nil
}

// drop takes the claim from its holder, and tells whether another local one may
// have it without a word to etcd: not after a guard was given out. A transaction
// with it may still be under way, and would commit under the next holder.
func (c *claim) drop() (reusable bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holder = nil
	c.serial++
	return !c.guarded && c.lost == nil && c.serial < maxSerial
}

// release removes the key and ends the turn.
func (c *claim) release(ctx context.Context) error {
	if !c.epoch.Untrack(c.tracked) {
		// It was lost in this very moment, with the lease or alone.
		c.seat.leave()
		if err := c.epoch.Err(); err != nil {
			return err
		}
		return c.deleted()
	}
	removed, err := c.remove(ctx)
	switch {
	case err != nil && c.epoch.Context().Err() != nil:
		c.seat.leave()
		return fmt.Errorf("%w with its lease: %w", ErrPending, c.epoch.Err())
	case err != nil:
		// It gives up only when the epoch ends, and the lease takes the key
		// along.
		c.epoch.Background(func(ctx context.Context) {
			defer c.seat.leave()
			_, _ = c.remove(ctx)
		})
		return fmt.Errorf("%w: %w", ErrPending, err)
	}
	c.seat.leave()
	if !removed {
		return c.deleted()
	}
	return nil
}

func (c *claim) deleted() error { return &session.KeyError{Key: c.key, Revision: c.revision} }

// evicted says why the own key is gone: with its lease, or alone.
func (c *claim) evicted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	left, err := c.epoch.Session().Client().TimeToLive(ctx, c.epoch.Lease())
	if err == nil && left.TTL < 0 { // 0 is less than a second
		c.epoch.Report(rpctypes.ErrLeaseNotFound)
	}
	if err := c.epoch.Err(); err != nil {
		return err
	}
	return c.deleted()
}

// remove deletes the key, if it is the one of this claim, trying until ctx or
// the epoch ends. It tells whether it was there, or may have been.
func (c *claim) remove(ctx context.Context) (bool, error) {
	client := c.epoch.Session().Client()
	for failures := 0; ; failures++ {
		txn, cancel := begin(ctx, client)
		resp, err := txn.If(c.guard()).Then(clientv3.OpDelete(c.key)).Commit()
		cancel()
		if err == nil {
			// An earlier attempt may have deleted it without an answer.
			return resp.Succeeded || failures > 0, nil
		}
		c.epoch.Report(err)
		pause(ctx, failures)
		if ended := cause(ctx, c.epoch); ended != nil {
			return false, fmt.Errorf("%w (last attempt: %w)", ended, err)
		}
	}
}

// giveUp ends an unsuccessful acquisition: it removes what that may have left
// in etcd, and then ends the turn. It waits a moment, so that normally nothing
// is left when Acquire returns; then the background goes on.
func (c *claim) giveUp() {
	if c.tracked != nil && !c.epoch.Untrack(c.tracked) || c.revision == 0 && c.doubt == nil {
		c.seat.leave() // the key is gone, or never was
		return
	}
	over := make(chan struct{})
	c.epoch.Background(func(ctx context.Context) {
		defer close(over)
		defer c.seat.leave()
		// Both fail only if the epoch ends, and then the lease takes the key
		// along.
		if c.doubt != nil && !c.settle(ctx, *c.doubt) {
			return
		}
		if c.revision > 0 {
			_, _ = c.remove(ctx)
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
func (c *claim) settle(ctx context.Context, f session.Fence) bool {
	for failures := 0; cause(ctx, c.epoch) == nil; failures++ {
		revision, err := c.epoch.Settle(ctx, f, c.key)
		if err == nil {
			c.revision = revision
			return true
		}
		c.epoch.Report(err)
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
