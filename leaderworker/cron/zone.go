package cron

import "time"

// A wall time is what a clock on the wall shows, without a zone. It is kept as
// a time in UTC, so that every wall time exists exactly once and in order.

// wall returns what a clock of the zone shows at an instant.
func wall(t time.Time, zone *time.Location) time.Time {
	return t.UTC().Add(offsetAt(t, zone))
}

// offsetAt is by how much a clock of the zone is ahead of UTC at an instant.
func offsetAt(t time.Time, zone *time.Location) time.Duration {
	_, offset := t.In(zone).Zone()
	return time.Duration(offset) * time.Second
}

// instant returns the instant at which a clock of the zone shows a wall time:
// the first of two if the clock is set back over it, and the first instant
// behind the gap if the clock is set forward over it.
func instant(w time.Time, zone *time.Location) time.Time {
	// Date is right unless w is near a change, and then at most one change away.
	near := time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), 0, zone)
	start, end := near.ZoneBounds()
	shown := wall(near, zone)
	switch {
	case shown.Equal(w):
		if start.IsZero() {
			return near.UTC()
		}
		// The same wall time under the offset before the last change.
		before := offsetAt(start.Add(-time.Nanosecond), zone)
		if earlier := w.Add(-before); earlier.Before(start) {
			return earlier
		}
		return near.UTC()
	case shown.After(w):
		return start.UTC()
	default:
		return end.UTC()
	}
}
