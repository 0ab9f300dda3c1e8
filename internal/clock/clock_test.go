package clock_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/internal/clock"
)

func TestSystemClockAdvances(t *testing.T) {
	first := clock.System.Now()
	require.Positive(t, first)
	for clock.System.Now() == first { // ends as soon as the clock moves
	}
	require.Greater(t, clock.System.Now(), first)
}

func TestContextCarriesTheClock(t *testing.T) {
	ctx := context.Background()
	require.Equal(t, clock.System, clock.FromContext(ctx))

	fixed := clock.Func(func() time.Duration { return 7 })
	require.Equal(t, time.Duration(7), clock.FromContext(clock.NewContext(ctx, fixed)).Now())
}

func BenchmarkSystem(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		clock.System.Now()
	}
}
