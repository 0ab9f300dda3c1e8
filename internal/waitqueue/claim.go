package waitqueue

import (
	"context"
	"time"

	"github.com/gotenure/tenure/internal/leasekey"
)

// A claim is the session's key in the queue: first a place, then the ownership,
// which passes through the hands of one local holder after the other. Only who
// has the seat's turn uses it.
type claim struct {
	*leasekey.Key
	seat    *seat
	movable bool // see Place

	ahead  int       // other keys, when this one was created; -1 if that is not known
	fresh  time.Time // when it was last known that nobody else waits, or was granted
	serial int64     // of the local holders, from 0
	keeper *keeper   // nil until the key was first kept

	reclaimed bool // it must go at its next release; guarded by the seat's mutex
}

// hold makes the caller, who has the turn and a claim that owns, the holder.
func (q *Queue) hold(ctx context.Context, c *claim, ahead leasekey.Ahead) (*leasekey.Hold, error) {
	return leasekey.NewHold(ctx, c.Key, leasekey.HoldConfig{
		Serial:  c.serial,
		Guard:   c.Guard(),
		Ahead:   ahead,
		Explain: q.explain,
		Release: func(ctx context.Context, guarded bool) error { return q.release(ctx, c, guarded) },
		// The turn is free: whoever comes next enters with a key of its own.
		Lost: c.seat.leave,
	})
}

// release ends a holder's turn. If another goroutine of the session waits, it
// gets the key as it is, see passOn; if the queue retains keys and nobody else
// waits, the key stays, see keep; otherwise it is deleted, which costs one
// transaction.
func (q *Queue) release(ctx context.Context, c *claim, guarded bool) error {
	c.serial++
	// After a guard was given out a transaction with it may still be under way,
	// and would commit under the next holder.
	reusable := !guarded && c.Lost() == nil && !c.Wanted() && c.serial < maxSerial
	if reusable && (q.passOn(ctx, c) || q.keep(c)) {
		return nil
	}
	return c.Release(ctx, c.seat.leave)
}
