package conformance

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// locked is what a goroutine that called Lock sends back.
type locked struct {
	held *lock.Held
	err  error
}

// lockLater calls Lock in a goroutine.
func lockLater(ctx context.Context, mu *lock.Mutex) <-chan locked {
	result := make(chan locked, 1)
	go func() {
		held, err := mu.Lock(ctx)
		result <- locked{held, err}
	}()
	return result
}

func mustLock(t *testing.T, mu *lock.Mutex) *lock.Held {
	t.Helper()
	held, err := mu.Lock(harness.Context(t))
	require.NoError(t, err)
	return held
}

func mustUnlock(t *testing.T, held *lock.Held) {
	t.Helper()
	require.NoError(t, held.Unlock(harness.Context(t)))
}

func TestLockAndUnlock(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		mu := lock.NewMutex(c.Session(t), harness.Name(t))
		held := mustLock(t, mu)
		require.True(t, held.Valid())
		require.Positive(t, held.Remaining())
		require.NoError(t, held.Context().Err())
		require.Len(t, c.Keys(t, mu.Prefix()), 1)

		mustUnlock(t, held)
		require.False(t, held.Valid())
		require.Zero(t, held.Remaining())
		require.ErrorIs(t, context.Cause(held.Context()), lock.ErrUnlocked)
		require.Empty(t, c.Keys(t, mu.Prefix()))
		require.ErrorIs(t, held.Unlock(harness.Context(t)), lock.ErrUnlocked)
	})
}

func TestTwoMutexesOfOneSessionExcludeEachOther(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s, name := c.Session(t), harness.Name(t)
		first, second := lock.NewMutex(s, name), lock.NewMutex(s, name)
		held := mustLock(t, first)
		_, err := second.TryLock(harness.Context(t))
		require.ErrorIs(t, err, lock.ErrLocked)

		waiting := lockLater(harness.Context(t), second)
		mustUnlock(t, held)
		got := harness.Got(t, waiting)
		require.NoError(t, got.err)
		require.Greater(t, got.held.Token(), held.Token())
		mustUnlock(t, got.held)
	})
}

func TestWaitersAreServedInTheOrderTheyCame(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first := lock.NewMutex(c.Session(t), name)
		held := mustLock(t, first)

		const waiters = 12 // more than the entering transaction shows at once
		order := make(chan int, waiters)
		var group sync.WaitGroup
		for i := range waiters {
			mu := lock.NewMutex(c.Session(t), name)
			group.Go(func() {
				err := mu.Do(harness.Context(t), func(context.Context, *lock.Held) error {
					order <- i
					return nil
				})
				require.NoError(t, err)
			})
			c.AwaitKeys(t, first.Prefix(), i+2)
		}
		mustUnlock(t, held)
		for i := range waiters {
			require.Equal(t, i, harness.Got(t, order))
		}
		group.Wait()
		require.Empty(t, c.Keys(t, first.Prefix()))
	})
}

func TestGoroutinesOfOneSessionWaitBehindOneKey(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		mu := lock.NewMutex(c.Session(t), harness.Name(t))
		held := mustLock(t, mu)
		var group sync.WaitGroup
		inside := 0
		for range 20 {
			group.Go(func() {
				err := mu.Do(harness.Context(t), func(context.Context, *lock.Held) error {
					inside++ // the race detector would object if two were inside
					return nil
				})
				require.NoError(t, err)
			})
		}
		require.Len(t, c.Keys(t, mu.Prefix()), 1)
		mustUnlock(t, held)
		group.Wait()
		require.Equal(t, 20, inside)
	})
}

func TestAWaiterThatGivesUpLeavesNothingAndBlocksNobody(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first := lock.NewMutex(c.Session(t), name)
		middle := lock.NewMutex(c.Session(t), name)
		last := lock.NewMutex(c.Session(t), name)
		held := mustLock(t, first)

		ctx, cancel := context.WithCancelCause(harness.Context(t))
		givesUp := lockLater(ctx, middle)
		c.AwaitKeys(t, first.Prefix(), 2)
		waits := lockLater(harness.Context(t), last)
		c.AwaitKeys(t, first.Prefix(), 3)

		reason := errors.New("no longer wanted")
		cancel(reason)
		require.ErrorIs(t, harness.Got(t, givesUp).err, reason)
		c.AwaitKeys(t, first.Prefix(), 2)
		mustUnlock(t, held)
		got := harness.Got(t, waits)
		require.NoError(t, got.err)
		mustUnlock(t, got.held)
		require.Empty(t, c.Keys(t, first.Prefix()))
	})
}

func TestTryLockLeavesNoHiddenWaiter(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first, second := lock.NewMutex(c.Session(t), name), lock.NewMutex(c.Session(t), name)
		held, err := first.TryLock(harness.Context(t))
		require.NoError(t, err)
		before := held.Token()

		_, err = second.TryLock(harness.Context(t))
		require.ErrorIs(t, err, lock.ErrLocked)
		require.Len(t, c.Keys(t, first.Prefix()), 1, "it never queued up")
		mustUnlock(t, held)

		held, err = second.TryLock(harness.Context(t))
		require.NoError(t, err)
		require.Greater(t, held.Token(), before)
		mustUnlock(t, held)
	})
}

func TestNoNameInterferesWithAnother(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s, name := c.Session(t), harness.Name(t)
		for _, other := range []string{name + "/b", name + "b", name + "%2Fb", name + "/", "/" + name} {
			below := mustLock(t, lock.NewMutex(c.Session(t), other))
			held, err := lock.NewMutex(s, name).TryLock(harness.Context(t))
			require.NoError(t, err, other)
			mustUnlock(t, held)
			mustUnlock(t, below)
		}
	})
}

func TestNamesThatCannotBeUsedAreRefused(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s := c.Session(t)
		for _, mu := range []*lock.Mutex{
			lock.NewMutex(s, ""),
			lock.NewMutex(s, strings.Repeat("x", 1025)),
			lock.NewMutex(s, "any", lock.AtKey("")),
			lock.NewMutex(s, "any", lock.AtKey("//")),
		} {
			_, err := mu.Lock(harness.Context(t))
			require.ErrorIs(t, err, lock.ErrName)
			_, err = mu.TryLock(harness.Context(t))
			require.ErrorIs(t, err, lock.ErrName)
			_, err = mu.Queue(harness.Context(t))
			require.ErrorIs(t, err, lock.ErrName)
		}
	})
}

func TestOnlyTheHolderPassesItsGuard(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first, second := lock.NewMutex(c.Session(t), name), lock.NewMutex(c.Session(t), name)
		write := func(held *lock.Held) bool {
			resp, err := c.Client().Txn(harness.Context(t)).
				If(held.Guard()...).Then(clientv3.OpPut("/data/"+name, "x")).Commit()
			require.NoError(t, err)
			return resp.Succeeded
		}
		held := mustLock(t, first)
		require.True(t, write(held))
		waiting := lockLater(harness.Context(t), second)
		c.AwaitKeys(t, first.Prefix(), 2)
		mustUnlock(t, held)
		next := harness.Got(t, waiting)
		require.NoError(t, next.err)
		require.False(t, write(held), "an old handle passed")
		require.True(t, write(next.held))

		// The same session waits again, with the same key: its old handle must
		// not pass for that.
		again := lockLater(harness.Context(t), first)
		c.AwaitKeys(t, first.Prefix(), 2)
		require.False(t, write(held), "the handle of an earlier hold passed while its session waits")
		mustUnlock(t, next.held)
		mustUnlock(t, harness.Got(t, again).held)
	})
}

func TestReentryThroughTheContextIsADeadlockToldAtOnce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s, name := c.Session(t), harness.Name(t)
		outer, inner := lock.NewMutex(s, name), lock.NewMutex(s, name+"-inner")
		other := lock.NewMutex(c.Session(t), name) // another session of the same program
		err := outer.Do(harness.Context(t), func(ctx context.Context, held *lock.Held) error {
			_, err := outer.Lock(ctx)
			require.ErrorIs(t, err, lock.ErrDeadlock)
			_, err = other.Lock(held.Context())
			require.ErrorIs(t, err, lock.ErrDeadlock)
			_, err = outer.TryLock(ctx)
			require.ErrorIs(t, err, lock.ErrLocked)
			return inner.Do(ctx, func(ctx context.Context, _ *lock.Held) error {
				_, err := outer.Lock(ctx)
				require.ErrorIs(t, err, lock.ErrDeadlock, "through another lock in between")
				return nil
			})
		})
		require.NoError(t, err)

		// A context outlives its handle; what it was acquired with is no bar.
		held := mustLock(t, outer)
		ctx := context.WithoutCancel(held.Context())
		mustUnlock(t, held)
		held, err = outer.Lock(ctx)
		require.NoError(t, err)
		mustUnlock(t, held)
	})
}

func TestQueueShowsWhoHoldsAndWhoWaits(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first := lock.NewMutex(c.Session(t, session.WithName("billing-1")), name)
		second := lock.NewMutex(c.Session(t, session.WithName("billing-2")), name)
		entries, err := first.Queue(harness.Context(t))
		require.NoError(t, err)
		require.Empty(t, entries)

		held := mustLock(t, first)
		waiting := lockLater(harness.Context(t), second)
		c.AwaitKeys(t, first.Prefix(), 2)
		entries, err = second.Queue(harness.Context(t))
		require.NoError(t, err)
		require.Len(t, entries, 2)
		require.Equal(t, "billing-1", entries[0].Owner.Session)
		require.Equal(t, held.Token(), entries[0].Token)
		require.Equal(t, "billing-2", entries[1].Owner.Session)
		for _, e := range entries {
			require.NotEmpty(t, e.Owner.Host)
			require.Positive(t, e.Owner.PID)
			require.False(t, e.Owner.Since.IsZero())
			require.NotZero(t, e.Lease)
		}
		seen, err := lock.Queue(harness.Context(t), c.Client(), "", name)
		require.NoError(t, err)
		require.Equal(t, entries, seen, "without a session")
		_, err = lock.Queue(harness.Context(t), c.Client(), "", "")
		require.ErrorIs(t, err, lock.ErrName)
		mustUnlock(t, held)
		mustUnlock(t, harness.Got(t, waiting).held)
	})
}

func TestDoReturnsWhatTheWorkReturnsAndUnlocks(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		mu := lock.NewMutex(c.Session(t), harness.Name(t))
		failure := errors.New("the work failed")
		err := mu.Do(harness.Context(t), func(_ context.Context, h *lock.Held) error {
			require.True(t, h.Valid())
			return failure
		})
		require.ErrorIs(t, err, failure)
		require.Empty(t, c.Keys(t, mu.Prefix()))

		require.PanicsWithValue(t, "boom", func() {
			_ = mu.Do(harness.Context(t), func(context.Context, *lock.Held) error { panic("boom") })
		})
		require.Empty(t, c.Keys(t, mu.Prefix()), "a panic unlocks")

		ctx, cancel := context.WithCancelCause(harness.Context(t))
		err = mu.Do(ctx, func(ctx context.Context, _ *lock.Held) error {
			cancel(failure)
			return harness.Ended(t, ctx)
		})
		require.ErrorIs(t, err, failure)
		require.Empty(t, c.Keys(t, mu.Prefix()), "the end of the caller's context unlocks")
	})
}

func TestContextValuesReachTheWork(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		type key struct{}
		mu := lock.NewMutex(c.Session(t), harness.Name(t))
		ctx := context.WithValue(harness.Context(t), key{}, "trace")
		require.NoError(t, mu.Do(ctx, func(ctx context.Context, h *lock.Held) error {
			require.Equal(t, "trace", ctx.Value(key{}))
			require.Equal(t, "trace", h.Context().Value(key{}))
			return nil
		}))
	})
}

func TestTenThousandLocksThroughOneSession(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		client, _ := c.Dial(t)
		s := c.SessionOn(t, client, session.WithTTL(time.Minute))
		prefix := harness.Name(t)
		before := runtime.NumGoroutine()
		const locks, workers = 10_000, 64
		names := make(chan int)
		held := make(chan *lock.Held, locks)
		var group sync.WaitGroup
		for range workers {
			group.Go(func() {
				for i := range names {
					h, err := lock.NewMutex(s, fmt.Sprintf("%s-%d", prefix, i)).TryLock(harness.Context(t))
					if err == nil {
						held <- h
					}
				}
			})
		}
		for i := range locks {
			names <- i
		}
		close(names)
		group.Wait()
		require.Len(t, held, locks)
		require.Less(t, runtime.NumGoroutine()-before, 100, "a held lock has no goroutine")
		require.Len(t, c.Keys(t, s.Namespace()+"locks/"+prefix), locks)

		ctx := harness.Context(t)
		require.NoError(t, s.Close(ctx))
		require.Empty(t, c.Keys(t, s.Namespace()+"locks/"+prefix), "all hang on one lease")
		for range locks {
			require.False(t, (<-held).Valid())
		}
	})
}
