package session

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/internal/clock"
)

// handClock is moved by hand.
type handClock struct{ now atomic.Int64 }

func (c *handClock) Now() time.Duration { return time.Duration(c.now.Load()) }

func (c *handClock) set(d time.Duration) { c.now.Store(int64(d)) }

var _ clock.Clock = (*handClock)(nil)

func TestTheDeadlineCountsFromTheSending(t *testing.T) {
	c := &handClock{}
	c.set(100 * time.Second)
	d := newDeadline(c, 98*time.Second, 9*time.Second) // sent two seconds ago
	require.Equal(t, 7*time.Second, d.remaining())

	c.set(104 * time.Second)
	require.True(t, d.extend(101*time.Second, 9*time.Second))
	require.Equal(t, 6*time.Second, d.remaining())

	require.True(t, d.extend(99*time.Second, 9*time.Second), "an answer that was overtaken")
	require.Equal(t, 6*time.Second, d.remaining(), "does not shorten what a later one gave")
}

func TestADeadlineThatHasPassedStaysPassed(t *testing.T) {
	c := &handClock{}
	d := newDeadline(c, 0, 9*time.Second)
	c.set(9 * time.Second)
	require.False(t, d.valid())
	require.False(t, d.extend(8*time.Second, 9*time.Second), "an answer that came too late")
	require.False(t, d.valid())
	c.set(0)
	require.False(t, d.valid(), "nor does a clock that jumps bring it back")
}

// A process that was stopped past its TTL and continued finds a renewal's
// answer waiting: whoever looks first, the deadline has passed.
func TestAnAnswerThatWaitedThroughAPauseDoesNotExtend(t *testing.T) {
	c := &handClock{}
	d := newDeadline(c, 0, 9*time.Second)
	c.set(time.Hour)
	require.False(t, d.extend(3*time.Second, 9*time.Second))
	require.Zero(t, d.remaining())
}

// Readers and a renewal race at the very deadline: nobody may see it passed and
// then valid.
func TestReadersAndARenewalAgree(t *testing.T) {
	for range 2_000 {
		c := &handClock{}
		d := newDeadline(c, 0, 10)
		c.set(9)
		var group sync.WaitGroup
		group.Go(func() { c.set(10) })
		group.Go(func() { d.extend(8, 10) })
		for range 2 {
			group.Go(func() {
				seenPassed := false
				for range 20 {
					valid := d.valid()
					if seenPassed && valid {
						t.Error("valid after it had passed")
					}
					seenPassed = seenPassed || !valid
				}
			})
		}
		group.Wait()
	}
}

func TestTheMarginIsATenthWithinBounds(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{
		time.Second:      800 * time.Millisecond,
		2 * time.Second:  1800 * time.Millisecond,
		5 * time.Second:  4500 * time.Millisecond,
		10 * time.Second: 9 * time.Second,
		time.Minute:      59 * time.Second,
	} {
		require.Equal(t, want, life(ttl))
	}
}

func BenchmarkValid(b *testing.B) {
	d := newDeadline(clock.System, clock.System.Now(), time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		if !d.valid() {
			b.Fatal("passed")
		}
	}
}
