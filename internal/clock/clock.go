// Package clock tells how much time has passed, including time during which
// the machine was suspended.
//
// A lease runs out at the server while this machine sleeps, so every deadline
// that stands for a lease is kept on this clock. Go's own monotonic reading is
// CLOCK_MONOTONIC on Linux, which stands still during a suspend.
package clock

import (
	"context"
	"time"
)

// A Clock tells the time that has passed since some fixed instant of its own.
// Readings never decrease, are comparable only with readings of the same
// Clock, and are safe for concurrent use.
type Clock interface {
	Now() time.Duration
}

// System is the clock of the machine: CLOCK_BOOTTIME on Linux. Elsewhere it is
// Go's monotonic clock, which may stand still while the machine is suspended.
var System Clock = system{}

type system struct{}

func (system) Now() time.Duration { return sinceBoot() }

type contextKey struct{}

// NewContext returns a context that makes FromContext return c. It is how a
// test in virtual time, which has no CLOCK_BOOTTIME, and a test with a clock
// that drifts, put their clock under a session.
func NewContext(ctx context.Context, c Clock) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns the clock that NewContext put into ctx, or else System.
func FromContext(ctx context.Context) Clock {
	if c, ok := ctx.Value(contextKey{}).(Clock); ok {
		return c
	}
	return System
}

// Func makes a Clock of a function.
type Func func() time.Duration

// Now calls f.
func (f Func) Now() time.Duration { return f() }
