//go:build !linux

package clock

import "time"

var start = time.Now()

func sinceBoot() time.Duration { return time.Since(start) }
