package clock

import "time"

// Since returns a clock that counts from t on Go's monotonic clock. Inside a
// testing/synctest bubble that clock is the bubble's virtual time.
func Since(t time.Time) Clock {
	return Func(func() time.Duration { return time.Since(t) })
}
