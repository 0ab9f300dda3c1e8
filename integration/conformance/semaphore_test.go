package conformance

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/lock"
)

func permits(sem *lock.Semaphore, n int) func(context.Context) (*lock.Held, error) {
	return func(ctx context.Context) (*lock.Held, error) { return sem.Acquire(ctx, n) }
}

// requests is what the keys of a semaphore's holders and waiters begin with.
func requests(sem *lock.Semaphore) string { return sem.Prefix() + "q/" }

func TestPermitsAreHeldUpToTheLimit(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		a, b := lock.NewSemaphore(c.Session(t), name, 5), lock.NewSemaphore(c.Session(t), name, 5)
		three, two := must(t, permits(a, 3)), must(t, permits(b, 2))
		_, err := a.TryAcquire(harness.Context(t), 1)
		require.ErrorIs(t, err, lock.ErrLocked)
		waiting := later(harness.Context(t), permits(b, 3))
		c.AwaitKeys(t, requests(a), 3)
		mustUnlock(t, two)
		require.Empty(t, waiting, "two are not three")
		mustUnlock(t, three)
		mustUnlock(t, granted(t, waiting))
		all, err := a.TryAcquire(harness.Context(t), 5)
		require.NoError(t, err)
		mustUnlock(t, all)
		require.Empty(t, c.Keys(t, requests(a)))
	})
}

func TestALargeRequestIsNotOvertakenBySmallOnes(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		sem := lock.NewSemaphore(c.Session(t), name, 4)
		holder := must(t, permits(sem, 2))
		large := later(harness.Context(t), permits(lock.NewSemaphore(c.Session(t), name, 4), 4))
		c.AwaitKeys(t, requests(sem), 2)
		small := later(harness.Context(t), permits(lock.NewSemaphore(c.Session(t), name, 4), 1))
		c.AwaitKeys(t, requests(sem), 3)
		_, err := sem.TryAcquire(harness.Context(t), 1)
		require.ErrorIs(t, err, lock.ErrLocked, "a try would overtake")
		require.Empty(t, small, "two are free, and it is not its turn")
		mustUnlock(t, holder)
		first := granted(t, large)
		require.Empty(t, small)
		mustUnlock(t, first)
		mustUnlock(t, granted(t, small))
	})
}

func TestEveryRequestIsServedInTheOrderItCame(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		sem := lock.NewSemaphore(c.Session(t), name, 2)
		held := []*lock.Held{must(t, permits(sem, 1)), must(t, permits(sem, 1))}
		const waiters = 12 // more than the entering transaction shows at once
		var results []<-chan locked
		for i := range waiters {
			results = append(results, later(harness.Context(t), permits(lock.NewSemaphore(c.Session(t), name, 2), 1)))
			c.AwaitKeys(t, requests(sem), i+3)
		}
		for _, result := range results {
			mustUnlock(t, held[0])
			held = append(held[1:], granted(t, result))
		}
		mustUnlock(t, held[0])
		mustUnlock(t, held[1])
		c.AwaitKeys(t, requests(sem), 0)
	})
}

func TestPermitsOfADeadHolderComeBackOnce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		s := c.Session(t)
		dead := must(t, permits(lock.NewSemaphore(s, name, 3), 2))
		sem := lock.NewSemaphore(c.Session(t), name, 3)
		holder := must(t, permits(sem, 1))
		first := later(harness.Context(t), permits(sem, 2))
		c.AwaitKeys(t, requests(sem), 3)
		second := later(harness.Context(t), permits(sem, 1))
		c.AwaitKeys(t, requests(sem), 4)
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
		require.NoError(t, err)
		require.ErrorIs(t, harness.Ended(t, dead.Context()), lock.ErrLost)
		got := granted(t, first)
		require.Empty(t, second, "three are held")
		mustUnlock(t, got)
		mustUnlock(t, granted(t, second))
		mustUnlock(t, holder)
	})
}

func TestUsersWhoDisagreeOnTheLimitAreTold(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		s := c.Session(t)
		five, six := lock.NewSemaphore(s, name, 5), lock.NewSemaphore(c.Session(t), name, 6)
		limit, err := six.Limit(harness.Context(t))
		require.NoError(t, err)
		require.Zero(t, limit, "nobody has used it")
		mustUnlock(t, must(t, permits(five, 1)))
		_, err = six.Acquire(harness.Context(t), 1)
		require.ErrorIs(t, err, lock.ErrLimit)
		require.ErrorContains(t, err, "the limit is 5, not 6")
		_, err = six.TryAcquire(harness.Context(t), 1)
		require.ErrorIs(t, err, lock.ErrLimit)
		require.Empty(t, c.Keys(t, requests(five)))
	})
}

func TestNumbersOfPermitsThatCannotBeHeldAreRefused(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s, name := c.Session(t), harness.Name(t)
		for _, n := range []int{0, -1, 4} {
			_, err := lock.NewSemaphore(s, name, 3).Acquire(harness.Context(t), n)
			require.ErrorIs(t, err, lock.ErrPermits)
			_, err = lock.NewSemaphore(s, name, 3).TryAcquire(harness.Context(t), n)
			require.ErrorIs(t, err, lock.ErrPermits)
		}
		_, err := lock.NewSemaphore(s, name, 0).Acquire(harness.Context(t), 1)
		require.ErrorIs(t, err, lock.ErrPermits)
		_, err = lock.NewSemaphore(s, "", 1).Acquire(harness.Context(t), 1)
		require.ErrorIs(t, err, lock.ErrName)
		require.ErrorIs(t, lock.NewSemaphore(s, name, 3).SetLimit(harness.Context(t), 0), lock.ErrPermits)
	})
}

func TestALimitThatIsRaisedLetsWaitersIn(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		a, b := lock.NewSemaphore(c.Session(t), name, 1), lock.NewSemaphore(c.Session(t), name, 1)
		holder := must(t, permits(a, 1))
		first := later(harness.Context(t), permits(b, 1))
		c.AwaitKeys(t, requests(a), 2)
		second := later(harness.Context(t), permits(b, 1))
		c.AwaitKeys(t, requests(a), 3)
		require.NoError(t, a.SetLimit(harness.Context(t), 3))
		mustUnlock(t, granted(t, first))
		mustUnlock(t, granted(t, second))
		mustUnlock(t, holder)
		mustUnlock(t, must(t, permits(b, 3)))
		limit, err := b.Limit(harness.Context(t))
		require.NoError(t, err)
		require.Equal(t, 3, limit)
	})
}

func TestALimitThatIsLoweredIsReachedAsHoldersUnlock(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		a, b := lock.NewSemaphore(c.Session(t), name, 3), lock.NewSemaphore(c.Session(t), name, 3)
		held := []*lock.Held{must(t, permits(a, 1)), must(t, permits(a, 1)), must(t, permits(b, 1))}
		tooLarge := later(harness.Context(t), permits(b, 2))
		c.AwaitKeys(t, requests(a), 4)
		require.NoError(t, b.SetLimit(harness.Context(t), 1))
		require.ErrorIs(t, harness.Got(t, tooLarge).err, lock.ErrPermits)
		c.AwaitKeys(t, requests(a), 3)
		waiting := later(harness.Context(t), permits(a, 1))
		c.AwaitKeys(t, requests(a), 4)
		for _, h := range held {
			require.True(t, h.Valid(), "holders keep what they hold")
			require.Empty(t, waiting)
			mustUnlock(t, h)
		}
		mustUnlock(t, granted(t, waiting))
	})
}

func TestARequestThatGivesUpLeavesNothingAndLetsOthersIn(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		sem := lock.NewSemaphore(c.Session(t), name, 2)
		holder := must(t, permits(sem, 1))
		ctx, giveUp := context.WithCancel(harness.Context(t))
		large := later(ctx, permits(sem, 2))
		c.AwaitKeys(t, requests(sem), 2)
		small := later(harness.Context(t), permits(sem, 1))
		c.AwaitKeys(t, requests(sem), 3)
		giveUp()
		require.ErrorIs(t, harness.Got(t, large).err, context.Canceled)
		mustUnlock(t, granted(t, small))
		mustUnlock(t, holder)
		c.AwaitKeys(t, requests(sem), 0)
	})
}

func TestPermitsUnderContention(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		const limit = 3
		var held atomic.Int64
		var group sync.WaitGroup
		for range 4 {
			sem := lock.NewSemaphore(c.Session(t), name, limit)
			for i := range 4 {
				group.Go(func() {
					for range 15 {
						n := 1 + i%limit
						err := sem.Do(harness.Context(t), n, func(_ context.Context, h *lock.Held) error {
							require.LessOrEqual(t, held.Add(int64(n)), int64(limit))
							held.Add(-int64(n))
							return nil
						})
						require.NoError(t, err)
					}
				})
			}
		}
		group.Wait()
	})
}

func TestAReleaseOfPermitsWakesAFewHoweverLongTheQueue(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		sem := lock.NewSemaphore(c.Session(t), name, 1)
		holder := must(t, permits(sem, 1))
		const waiters = 16
		var events atomic.Int64
		var results []<-chan locked
		for i := range waiters {
			client, faults := c.Dial(t)
			s := c.SessionOn(t, client)
			faults.OnReceive(func(msg any) {
				if resp, ok := msg.(*pb.WatchResponse); ok {
					for _, ev := range resp.Events {
						if strings.HasPrefix(string(ev.Kv.Key), sem.Prefix()) {
							events.Add(1)
						}
					}
				}
			})
			results = append(results, later(harness.Context(t), permits(lock.NewSemaphore(s, name, 1), 1)))
			c.AwaitKeys(t, requests(sem), i+2)
		}
		held := holder
		for _, result := range results {
			mustUnlock(t, held)
			held = granted(t, result)
		}
		mustUnlock(t, held)
		require.LessOrEqual(t, events.Load(), int64(3*waiters), "a release wakes one, and its admission the next")
	})
}

func TestTheQueueOfASemaphoreSaysWhoHasHowMany(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		sem := lock.NewSemaphore(c.Session(t), harness.Name(t), 3)
		holder := must(t, permits(sem, 2))
		ctx, giveUp := context.WithCancel(harness.Context(t))
		waiting := later(ctx, permits(sem, 3))
		c.AwaitKeys(t, requests(sem), 2)
		entries, err := sem.Queue(harness.Context(t))
		require.NoError(t, err)
		require.Len(t, entries, 2)
		require.Equal(t, []any{true, int64(2), false, int64(3)},
			[]any{entries[0].Holds, entries[0].Permits, entries[1].Holds, entries[1].Permits})
		giveUp()
		harness.Got(t, waiting)
		mustUnlock(t, holder)
	})
}

func TestAnAcquireWhoseAnswerWasLostHoldsOnce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		sem := lock.NewSemaphore(c.SessionOn(t, client), harness.Name(t), 1)
		faults.OnCall(once(func(req any) bool { return harness.Creates(req, requests(sem)) }))
		held := must(t, permits(sem, 1))
		require.Len(t, c.Keys(t, requests(sem)), 1)
		mustUnlock(t, held)
		require.Empty(t, c.Keys(t, requests(sem)))
	})
}
