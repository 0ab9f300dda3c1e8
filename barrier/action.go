package barrier

import (
	"context"
	"errors"
	"fmt"
)

var errUnfinished = errors.New("did not return")

// An action is what the keeper runs before it opens. It runs beside the watch
// of the parties, so that one that dies meanwhile stops it.
type action struct {
	run    func(context.Context) error // nil once it was started, or if there is none
	work   func() (done func())        // tells the session, which waits for it before it gives the lease back
	cancel context.CancelFunc
	parent context.Context
	ctx    context.Context // ends when the action has ended, and with parent
	wake   context.CancelFunc
	over   chan struct{} // closed when it has ended; nil until it was started
	err    error         // what it returned
}

func newAction(ctx context.Context, work func() func(), f func(context.Context, int64) error, generation int64) *action {
	a := &action{parent: ctx, work: work}
	a.ctx, a.wake = context.WithCancel(ctx)
	if f != nil {
		a.run = func(ctx context.Context) error { return f(ctx, generation) }
	}
	return a
}

// ended tells whether the action has ended, and starts it when it is first
// asked.
func (a *action) ended() bool {
	if a.run != nil {
		run := a.run
		ctx, cancel := context.WithCancel(a.parent)
		a.run, a.cancel, a.over = nil, cancel, make(chan struct{})
		done := a.work()
		go func() {
			defer done()
			defer a.wake()
			defer close(a.over)
			defer func() {
				if p := recover(); p != nil {
					a.err = fmt.Errorf("panic: %v", p)
				}
			}()
			a.err = errUnfinished // if it ends by runtime.Goexit
			a.err = run(ctx)
		}()
	}
	if a.over == nil {
		return true
	}
	select {
	case <-a.over:
		return true
	default:
		return false
	}
}

// stop cancels the action and waits for its end.
func (a *action) stop() {
	if a.over != nil {
		a.cancel()
		<-a.over
	}
	a.wake()
}
