package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/session"
)

// steppedBack says that a candidate no longer stands, for a reason that is none
// to give up.
type steppedBack struct{ error }

func (e *steppedBack) Unwrap() error { return e.error }

// stand is one candidacy, from the first check to the term. After an error
// nothing of it is left; or it is being removed, and the session's turn ends
// when it is.
func (e *Election) stand(ctx context.Context, leave func(), failures int) (*Term, error) {
	if failures > 0 {
		leasekey.Pause(ctx, failures)
	}
	if err := e.fit(ctx); err != nil {
		leave()
		return nil, err
	}
	epoch, err := e.session.Epoch(ctx)
	if err != nil {
		leave()
		return nil, err
	}
	key := leasekey.New(epoch, keys.Member(e.opts.prefix, epoch.Lease()))
	about := keys.Member(e.opts.about, epoch.Lease())
	key.Attach(about)
	description := clientv3.OpPut(about, e.describe(time.Now()), clientv3.WithLease(epoch.Lease()))

	err = e.whileHealthy(ctx, func(ctx context.Context) error {
		return e.queue.Stand(ctx, key, func() string { return string(e.opts.value) }, description)
	})
	if err == nil {
		var t *Term
		if t, err = newTerm(ctx, e, key, leave); err == nil {
			return t, nil
		}
	}
	if !standsAgain(ctx, err) {
		key.Discard(leave)
		return nil, err
	}
	gone := make(chan struct{})
	key.Discard(func() { close(gone) })
	select {
	case <-gone:
		return nil, &steppedBack{err}
	case <-ctx.Done():
		epoch.Background(func(context.Context) { <-gone; leave() })
		return nil, fmt.Errorf("%w, after: %w", context.Cause(ctx), err)
	}
}

// standsAgain tells whether a candidate tries again after an error: one whose
// lease or key is gone, or that was not well for a while.
func standsAgain(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, session.ErrClosed) {
		return false
	}
	return leasekey.Lost(err) || errors.Is(err, ErrUnhealthy)
}
