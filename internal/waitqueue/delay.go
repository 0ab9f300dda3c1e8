package waitqueue

import (
	"context"
	"errors"
	"time"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
)

// Delayed returns the queue for users who, after the lease of one of them has
// died while it owned, own only once that long has passed. Others who use the
// queue are not concerned.
//
// Each owner has a marker outside of the queue, on a lease that outlives its
// own: see leasekey.Key.Mark. Whoever is first in the queue and finds somebody
// else's waits for its end before it owns.
func (q *Queue) Delayed(delay time.Duration) *Queue {
	delayed := *q
	delayed.delay = delay
	delayed.marker = keys.Space(q.session.Namespace()).Delay(q.prefix)
	return &delayed
}

// mark sets the marker of a claim that is first in the queue, once no other is
// there.
func (q *Queue) mark(ctx context.Context, c *claim) error {
	if q.delay == 0 {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := c.OnLoss(func(cause error) { cancel(cause) }); err != nil {
		return err
	}
	for failures := 0; ; failures++ {
		lease, err := c.Epoch().Linger(ctx, q.delay)
		if err == nil {
			var found int64
			found, err = c.Mark(ctx, q.marker, lease)
			switch {
			case err == nil:
				return nil
			case errors.Is(err, leasekey.ErrMarked):
				if err := leasekey.AwaitGone(ctx, q.session.Client(), q.marker, found); err != nil {
					return err
				}
				continue
			}
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case leasekey.Lost(err), leasekey.Refused(err):
			return err
		}
		leasekey.Pause(ctx, failures)
	}
}
