package cron

import (
	"fmt"
	"time"
)

// A Schedule says at which instants a job is due. Those instants are its
// ticks. It has no state, and every process has to come to the same ticks.
type Schedule interface {
	// Next returns the first tick after an instant, or the zero time if there
	// is none.
	Next(after time.Time) time.Time
}

// MinInterval is the shortest interval that Every takes. Each tick costs two
// commits.
const MinInterval = 100 * time.Millisecond

type every struct{ interval time.Duration }

// Every returns the schedule of a job that is due again and again after an
// interval of whole milliseconds. Its ticks are the multiples of the interval
// since the beginning of 1970 in UTC, so all processes agree on them and no
// change of a clock's zone moves them.
func Every(interval time.Duration) (Schedule, error) {
	if interval < MinInterval || interval%time.Millisecond != 0 {
		return nil, fmt.Errorf("%w: an interval of %v is not at least %v and of whole milliseconds", ErrConfig, interval, MinInterval)
	}
	return every{interval}, nil
}

func (s every) Next(after time.Time) time.Time {
	step := s.interval.Milliseconds()
	now := after.UnixMilli() // rounds down, so the tick after it may be now itself
	next := now - now%step + step
	if now < 0 && now%step != 0 {
		next -= step
	}
	return time.UnixMilli(next).UTC()
}

type once struct{ at time.Time }

// At returns the schedule of a job that is due once. A process that first hears
// of it after that instant takes it for a missed tick.
func At(t time.Time) Schedule { return once{t.Truncate(time.Millisecond).UTC()} }

func (s once) Next(after time.Time) time.Time {
	if after.Before(s.at) {
		return s.at
	}
	return time.Time{}
}

// lastTick returns the last tick in (from, to], or the zero time. It looks
// further and further back, so what it costs does not depend on from.
func lastTick(s Schedule, from, to time.Time) time.Time {
	for step := time.Second; ; step *= 2 {
		start := to.Add(-step)
		if start.Before(from) || step > 1<<61 {
			start = from
		}
		tick := s.Next(start)
		if tick.IsZero() || tick.After(to) {
			if start.Equal(from) {
				return time.Time{}
			}
			continue
		}
		for {
			next := s.Next(tick)
			if next.IsZero() || next.After(to) {
				return tick
			}
			tick = next
		}
	}
}

// maxCount is where countTicks stops.
const maxCount = 1000

// countTicks counts the ticks in (from, to], up to maxCount.
func countTicks(s Schedule, from, to time.Time) int {
	n := 0
	for tick := s.Next(from); !tick.IsZero() && !tick.After(to) && n < maxCount; tick = s.Next(tick) {
		n++
	}
	return n
}
