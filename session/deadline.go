package session

import (
	"sync/atomic"
	"time"

	"github.com/gotenure/tenure/internal/clock"
)

// A deadline is the instant at which a lease must be taken for lost. It can be
// moved forward until it has passed, and never after: whoever first sees it
// passed closes it, so two readers never see "passed" and then "valid".
//
// The invariant that everything stands on: at is never later than
//
//	the instant at which the last answered request was sent + TTL - margin
//
// The server counts the TTL from a later instant, so it cannot give the lease
// up before at + margin, however long the answer was under way.
type deadline struct {
	clock clock.Clock
	at    atomic.Int64 // on clock; passed for ever if 0
}

const passed = 0

func newDeadline(c clock.Clock, sent, life time.Duration) *deadline {
	d := &deadline{clock: c}
	d.at.Store(max(1, int64(sent+life)))
	return d
}

// extend moves the deadline to sent + life unless it has passed, and tells
// whether it has not.
func (d *deadline) extend(sent, life time.Duration) bool {
	next := int64(sent + life)
	for {
		at := d.at.Load()
		switch {
		case at == passed:
			return false
		case int64(d.clock.Now()) >= at:
			if d.at.CompareAndSwap(at, passed) {
				return false
			}
		case next <= at || d.at.CompareAndSwap(at, next):
			return true
		}
	}
}

// valid tells whether the deadline has not passed.
func (d *deadline) valid() bool { return d.remaining() > 0 }

// remaining is the time left, zero once the deadline has passed.
func (d *deadline) remaining() time.Duration {
	for {
		at := d.at.Load()
		if at == passed {
			return 0
		}
		if left := at - int64(d.clock.Now()); left > 0 {
			return time.Duration(left)
		}
		// A renewal may be answered in this very moment. The swap decides which
		// of the two came first.
		if d.at.CompareAndSwap(at, passed) {
			return 0
		}
	}
}

// pass closes the deadline and tells whether it was open.
func (d *deadline) pass() bool { return d.at.Swap(passed) != passed }
