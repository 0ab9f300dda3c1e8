package election

import (
	"context"
	"errors"
	"time"
)

// resignTimeout bounds the giving up that Run does, whose caller may have a
// context that has ended.
const resignTimeout = 5 * time.Second

// Run campaigns, does the work while leading, and campaigns again whenever a
// term ends before the work returns by itself: lost, resigned, handed over, or
// ended by a check. It returns when the work has returned while leading, with
// the work's error, nil included; when ctx has ended, with its cause, joined
// with the work's error if that is another one; or when Campaign returns an
// error.
//
// The work's context has the values of ctx and ends when ctx ends or the term is
// over, with the cause. The term is given up only once the work has returned, so
// it never overlaps with the next leader's unless it goes on after a loss. What
// the work returns after its term has ended is not looked at. A panic in the
// work gives the term up and goes on.
func (e *Election) Run(ctx context.Context, work func(ctx context.Context, t *Term) error) error {
	for {
		t, err := e.Campaign(ctx)
		if err != nil {
			return err
		}
		if again, err := t.serve(ctx, work); !again {
			return err
		}
	}
}

// serve does the work of a term, and then gives the term up. It tells whether to
// campaign again.
func (t *Term) serve(ctx context.Context, work func(context.Context, *Term) error) (again bool, err error) {
	t.joined = true
	// A session that is being closed waits for work that it knows of. If it did
	// not know of this one, the term is over by now, and nothing has begun.
	joined := t.hold.Epoch().Work()
	defer joined()

	inner, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	unhook := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	defer unhook()

	defer func() { // also when the work panics
		led := t.hold.End(ErrResigned)
		again = !led && ctx.Err() == nil
		resign, cancel := context.WithTimeout(context.WithoutCancel(ctx), resignTimeout)
		defer cancel()
		released := t.giveUp(resign)
		if again {
			err = nil
			return
		}
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = errors.Join(err, cause)
		}
		if led {
			err = errors.Join(err, released)
		}
	}()
	if t.hold.Err() != nil {
		return true, nil
	}
	return false, work(inner, t)
}
