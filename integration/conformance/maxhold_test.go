package conformance

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

func TestAHoldThatHangsEndsAndTheNextOneGetsTheLock(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name, saw := harness.Name(t), newSeen()
		s := c.Session(t, session.WithTTL(time.Second))
		mu := lock.NewMutex(s, name,
			lock.WithMaxHold(50*time.Millisecond), saw.option())
		hanging := mustLock(t, mu)
		waiting := lockLater(harness.Context(t), lock.NewMutex(c.Session(t), name))

		cause := harness.Ended(t, hanging.Context())
		require.ErrorIs(t, cause, lock.ErrMaxHold)
		require.ErrorIs(t, cause, lock.ErrLost)
		require.False(t, hanging.Valid())
		require.Equal(t, cause, harness.Got(t, saw.ended).Cause)
		next := harness.Got(t, waiting) // though nobody unlocks
		require.NoError(t, next.err)
		require.Greater(t, next.held.Token(), hanging.Token())
		mustUnlock(t, next.held)
		require.ErrorIs(t, hanging.Unlock(harness.Context(t)), lock.ErrMaxHold)

		mustUnlock(t, mustLock(t, lock.NewMutex(s, name))) // the session goes on
	})
}

func TestEveryKindOfHoldEndsInTime(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		ctx, s, name := harness.Context(t), c.Session(t, session.WithTTL(time.Second)), harness.Name(t)
		limit := lock.WithMaxHold(20 * time.Millisecond)
		rw := lock.NewRWMutex(s, name, limit)
		read, err := rw.RLock(ctx)
		require.NoError(t, err)
		require.ErrorIs(t, harness.Ended(t, read.Context()), lock.ErrMaxHold)
		written, err := rw.Lock(ctx) // once the reader's key is gone
		require.NoError(t, err)
		require.ErrorIs(t, harness.Ended(t, written.Context()), lock.ErrMaxHold)
		permits := lock.NewSemaphore(s, name, 1, limit)
		for range 2 {
			one, err := permits.Acquire(ctx, 1)
			require.NoError(t, err)
			require.ErrorIs(t, harness.Ended(t, one.Context()), lock.ErrMaxHold)
		}
		all, err := lock.All(ctx, lock.NewMutex(s, name), lock.NewMutex(s, name+"-2", limit))
		require.NoError(t, err)
		require.ErrorIs(t, harness.Ended(t, all.Context()), lock.ErrMaxHold)
		require.ErrorIs(t, all.Unlock(ctx), lock.ErrMaxHold)
	})
}

func TestALimitedHoldThatIsUnlockedInTimeIsLeftAlone(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s, name := c.Session(t), harness.Name(t)
		mu := lock.NewMutex(s, name, lock.WithMaxHold(time.Hour), lock.WithRetention(time.Minute))
		before := len(harness.Goroutines())
		mustUnlock(t, mustLock(t, mu))
		keeper := len(harness.Goroutines()) - before
		for range 100 {
			mustUnlock(t, mustLock(t, mu))
		}
		held := mustLock(t, mu)
		runtime.Gosched()
		require.LessOrEqual(t, len(harness.Goroutines())-before, keeper, "a goroutine for each hold")
		mustUnlock(t, held)
		require.ErrorIs(t, context.Cause(held.Context()), lock.ErrUnlocked)

		for _, d := range []time.Duration{0, -time.Second} {
			_, err := lock.NewMutex(s, name, lock.WithMaxHold(d)).Lock(harness.Context(t))
			require.ErrorIs(t, err, lock.ErrOption)
			_, err = lock.NewRWMutex(s, name, lock.WithMaxHold(d)).RLock(harness.Context(t))
			require.ErrorIs(t, err, lock.ErrOption)
			_, err = lock.NewSemaphore(s, name, 1, lock.WithMaxHold(d)).Acquire(harness.Context(t), 1)
			require.ErrorIs(t, err, lock.ErrOption)
		}
	})
}
