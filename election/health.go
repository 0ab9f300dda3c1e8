package election

import (
	"context"
	"fmt"
	"time"
)

// fit waits until the candidate passes its check, and returns an error only
// when ctx ends.
func (e *Election) fit(ctx context.Context) error {
	if e.opts.health == nil {
		return nil
	}
	for {
		err := e.opts.health.check(ctx)
		if err == nil {
			return nil
		}
		if !sleep(ctx, e.opts.health.Every) {
			return fmt.Errorf("%w: %w, and %w", ErrUnhealthy, err, context.Cause(ctx))
		}
	}
}

// whileHealthy calls f with a context that also ends, with ErrUnhealthy, when
// the candidate does not pass its checks any more.
func (e *Election) whileHealthy(ctx context.Context, f func(context.Context) error) error {
	if e.opts.health == nil {
		return f(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := e.opts.health.fails(ctx); err != nil {
			cancel(err)
		}
	}()
	err := f(ctx)
	cancel(nil)
	<-ended
	return err
}

// check is one, with its time limit.
func (h *Health) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.Every)
	defer cancel()
	return h.Check(ctx)
}

// fails returns once as many checks in a row have failed as are too many, with
// ErrUnhealthy and what the last one said; nil if ctx ended before that.
func (h *Health) fails(ctx context.Context) error {
	for failures := 0; ; {
		if !sleep(ctx, h.Every) {
			return nil
		}
		err := h.check(ctx)
		switch {
		case ctx.Err() != nil:
			return nil // it may have failed for that
		case err == nil:
			failures = 0
		default:
			failures++
		}
		if failures == h.Failures {
			return fmt.Errorf("%w: %d checks in a row: %w", ErrUnhealthy, failures, err)
		}
	}
}

// sleep tells whether d has passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
