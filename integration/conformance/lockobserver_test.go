package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// seen is what an observer was told.
type seen struct {
	acquired chan lock.Acquisition
	failed   chan lock.Failure
	ended    chan lock.Ending
}

func newSeen() seen {
	return seen{make(chan lock.Acquisition, 100), make(chan lock.Failure, 100), make(chan lock.Ending, 100)}
}

func (s seen) option() lock.HoldOption {
	return lock.WithObserver(lock.Observer{
		Acquired: func(a lock.Acquisition) { s.acquired <- a },
		Failed:   func(f lock.Failure) { s.failed <- f },
		Ended:    func(e lock.Ending) { s.ended <- e },
	})
}

func TestTheObserverSeesWaitsHoldsAndHowTheyEnd(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name, saw := harness.Name(t), newSeen()
		other := lock.NewMutex(c.Session(t), name)
		s := c.Session(t)
		mu := lock.NewMutex(s, name, saw.option())

		held := mustLock(t, mu)
		got := harness.Got(t, saw.acquired)
		require.Equal(t, lock.Acquisition{Name: name, Token: held.Token(), Wait: got.Wait}, got)
		require.Positive(t, got.Wait)
		mustUnlock(t, held)
		end := harness.Got(t, saw.ended)
		require.Equal(t, held.Token(), end.Token)
		require.Positive(t, end.Held)
		require.Equal(t, context.Cause(held.Context()), end.Cause)
		require.ErrorIs(t, end.Cause, lock.ErrUnlocked)

		before := mustLock(t, other)
		_, err := mu.TryLock(harness.Context(t))
		failure := harness.Got(t, saw.failed)
		require.Equal(t, err, failure.Err)
		require.ErrorIs(t, failure.Err, lock.ErrLocked)
		require.Positive(t, failure.Wait)

		var group sync.WaitGroup
		for i := range 3 { // more in the local queue than in etcd
			group.Go(func() {
				require.NoError(t, mu.Do(harness.Context(t), func(context.Context, *lock.Held) error { return nil }))
			})
			if i == 0 {
				c.AwaitKeys(t, mu.Prefix(), 2)
			}
		}
		mustUnlock(t, before)
		for range 3 {
			if got := harness.Got(t, saw.acquired); got.Local == 0 {
				require.Equal(t, 1, got.Ahead, "the holder's key")
			}
		}
		group.Wait()

		lost := mustLock(t, mu)
		require.NoError(t, s.Close(harness.Context(t)))
		for end.Token != lost.Token() {
			end = harness.Got(t, saw.ended)
		}
		require.ErrorIs(t, end.Cause, lock.ErrLost)
		require.ErrorIs(t, end.Cause, session.ErrClosed)
	})
}

func TestTheObserverCountsALongQueue(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first := lock.NewMutex(c.Session(t), name)
		held := mustLock(t, first)
		saw := newSeen()
		var group sync.WaitGroup
		const waiters = 12 // more than the entering transaction shows
		for i := range waiters {
			mu := lock.NewMutex(c.Session(t), name, saw.option())
			group.Go(func() {
				require.NoError(t, mu.Do(harness.Context(t), func(context.Context, *lock.Held) error { return nil }))
			})
			c.AwaitKeys(t, first.Prefix(), i+2)
		}
		mustUnlock(t, held)
		for i := range waiters {
			require.Equal(t, i+1, harness.Got(t, saw.acquired).Ahead)
		}
		group.Wait()
	})
}

func TestTheObserverSeesEveryKindOfLock(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		ctx, s, name, saw := harness.Context(t), c.Session(t), harness.Name(t), newSeen()
		rw := lock.NewRWMutex(s, name, saw.option())
		first, err := rw.RLock(ctx)
		require.NoError(t, err)
		second, err := rw.RLock(ctx)
		require.NoError(t, err)
		for range 2 {
			require.Zero(t, harness.Got(t, saw.acquired).Ahead, "readers are not in a reader's way")
		}
		_, err = rw.TryLock(ctx)
		require.ErrorIs(t, harness.Got(t, saw.failed).Err, lock.ErrLocked)
		require.ErrorIs(t, err, lock.ErrLocked)
		mustUnlock(t, first)
		mustUnlock(t, second)
		written, err := rw.Lock(ctx)
		require.NoError(t, err)
		read, err := rw.Downgrade(ctx, written)
		require.NoError(t, err)
		mustUnlock(t, read)
		for _, held := range []*lock.Held{first, second, written, read} {
			require.Equal(t, held.Token(), harness.Got(t, saw.ended).Token)
		}
		require.Len(t, saw.acquired, 2)

		saw = newSeen()
		permits := lock.NewSemaphore(s, name, 3, saw.option())
		for i := range 3 {
			one, err := permits.Acquire(ctx, 1)
			require.NoError(t, err)
			defer mustUnlock(t, one)
			require.Equal(t, i, harness.Got(t, saw.acquired).Ahead)
		}
		_, err = permits.TryAcquire(ctx, 1)
		require.ErrorIs(t, err, lock.ErrLocked)
		harness.Got(t, saw.failed)

		saw = newSeen()
		var several []lock.Lockable
		for i := range 3 {
			several = append(several, lock.NewMutex(s, fmt.Sprint(name, i), saw.option()))
		}
		all, err := lock.All(ctx, several...)
		require.NoError(t, err)
		busy, cancel := context.WithCancelCause(ctx)
		reason := errors.New("no longer wanted")
		cancel(reason)
		_, err = lock.All(busy, several...)
		require.ErrorIs(t, err, reason)
		require.NoError(t, all.Unlock(ctx))
		for range several {
			harness.Got(t, saw.acquired)
			harness.Got(t, saw.ended)
			require.ErrorIs(t, harness.Got(t, saw.failed).Err, reason)
		}
	})
}
