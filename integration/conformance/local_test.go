package conformance

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/lock"
)

func TestGoroutinesOfOneSessionHandTheLockOnWithoutEtcd(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		mu := lock.NewMutex(c.SessionOn(t, client), harness.Name(t))
		var created atomic.Int64
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, mu.Prefix()) {
				created.Add(1)
			}
			return call()
		})
		const goroutines, rounds = 20, 50
		var group sync.WaitGroup
		var last int64 // guarded by the lock itself
		for range goroutines {
			group.Go(func() {
				for range rounds {
					held, err := mu.Lock(harness.Context(t))
					require.NoError(t, err)
					require.Greater(t, held.Token(), last)
					last = held.Token()
					require.True(t, held.Valid())
					require.NoError(t, held.Unlock(harness.Context(t)))
					require.False(t, held.Valid())
				}
			})
		}
		group.Wait()
		require.Less(t, created.Load(), int64(goroutines*rounds/2), "nearly every hold had a key of its own")
		require.Empty(t, c.Keys(t, mu.Prefix()))
	})
}

func TestABusySessionDoesNotStarveAnother(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		busy := lock.NewMutex(c.Session(t), name)
		ctx, stop := context.WithCancel(harness.Context(t))
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				for ctx.Err() == nil {
					if held, err := busy.Lock(ctx); err == nil {
						_ = held.Unlock(harness.Context(t))
					}
				}
			})
		}
		other := lock.NewMutex(c.Session(t), name)
		for range 5 {
			mustUnlock(t, mustLock(t, other))
		}
		stop()
		group.Wait()
		require.Empty(t, c.Keys(t, busy.Prefix()))
	})
}

// A transaction with a guard may be under way when its holder unlocks. It must
// not commit under the next holder, so that one needs a key of its own.
func TestAKeyWhoseGuardWasGivenOutIsNotHandedOn(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		mu := lock.NewMutex(c.Session(t), harness.Name(t))
		commits := func(guard []clientv3.Cmp) bool {
			resp, err := c.Client().Txn(harness.Context(t)).If(guard...).Then(clientv3.OpPut("/data/x", "")).Commit()
			require.NoError(t, err)
			return resp.Succeeded
		}
		var group sync.WaitGroup
		for range 10 { // so that somebody always waits for the next turn
			group.Go(func() {
				for range 10 {
					held, err := mu.Lock(harness.Context(t))
					require.NoError(t, err)
					guard := held.Guard()
					require.True(t, commits(guard))
					require.NoError(t, held.Unlock(harness.Context(t)))
					require.False(t, commits(guard), "the guard of an earlier holder passed")
					require.False(t, commits(held.Guard()), "a handle that was unlocked gave out a guard that passes")
				}
			})
		}
		group.Wait()
	})
}

func TestALocalWaiterThatGivesUpStopsNobody(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		mu := lock.NewMutex(c.Session(t), harness.Name(t))
		for range 200 { // the end of the patience and the handoff race
			held := mustLock(t, mu)
			short, cancel := context.WithCancel(harness.Context(t))
			impatient := lockLater(short, mu)
			patient := lockLater(harness.Context(t), mu)
			go cancel()
			mustUnlock(t, held)
			if got := harness.Got(t, impatient); got.err == nil {
				mustUnlock(t, got.held)
			} else {
				require.ErrorIs(t, got.err, context.Canceled)
			}
			got := harness.Got(t, patient)
			require.NoError(t, got.err)
			mustUnlock(t, got.held)
		}
		require.Empty(t, c.Keys(t, mu.Prefix()))
	})
}

func TestALossReachesWhoeverHoldsTheKeyByThen(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s := c.Session(t)
		mu := lock.NewMutex(s, harness.Name(t))
		first := mustLock(t, mu)
		waiting := lockLater(harness.Context(t), mu)
		mustUnlock(t, first)
		second := harness.Got(t, waiting)
		require.NoError(t, second.err)
		third := lockLater(harness.Context(t), mu)

		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
		require.NoError(t, err)
		require.ErrorIs(t, harness.Ended(t, second.held.Context()), lock.ErrLost)
		got := harness.Got(t, third) // it was in the local queue only, and enters with the next lease
		require.NoError(t, got.err)
		require.Greater(t, got.held.Token(), second.held.Token())
		mustUnlock(t, got.held)
		require.ErrorIs(t, second.held.Unlock(context.Background()), lock.ErrLost)
	})
}

func TestARetainedLockCostsNothingUntilAnotherSessionWantsIt(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		mu := lock.NewMutex(c.SessionOn(t, client), name, lock.WithRetention(time.Minute))
		var writes atomic.Int64
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, mu.Prefix()) || harness.Deletes(req, mu.Prefix()) {
				writes.Add(1)
			}
			return call()
		})
		last := int64(0)
		for range 1000 {
			held := mustLock(t, mu)
			require.Greater(t, held.Token(), last)
			last = held.Token()
			mustUnlock(t, held)
			require.False(t, held.Valid())
		}
		require.EqualValues(t, 1, writes.Load())
		require.Len(t, c.Keys(t, mu.Prefix()), 1, "it is retained")
		held, err := mu.TryLock(harness.Context(t))
		require.NoError(t, err, "for the same session it is free")
		mustUnlock(t, held)

		other := mustLock(t, lock.NewMutex(c.Session(t), name))
		require.Greater(t, other.Token(), held.Token())
		mustUnlock(t, other)
		mustUnlock(t, mustLock(t, mu))
	})
}

func TestARetainedLockIsGivenBackWhenNobodyUsesIt(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		mu := lock.NewMutex(c.Session(t), harness.Name(t), lock.WithRetention(50*time.Millisecond))
		mustUnlock(t, mustLock(t, mu))
		c.AwaitKeys(t, mu.Prefix(), 0)
		mustUnlock(t, mustLock(t, mu))
		c.AwaitKeys(t, mu.Prefix(), 0)
	})
}

func TestAWaiterBehindAHeldRetainingLockGetsItAtTheNextUnlock(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		mu := lock.NewMutex(c.Session(t), name, lock.WithRetention(time.Minute))
		mustUnlock(t, mustLock(t, mu))
		held := mustLock(t, mu)
		waiting := lockLater(harness.Context(t), lock.NewMutex(c.Session(t), name))
		c.AwaitKeys(t, mu.Prefix(), 2)
		mustUnlock(t, held)
		got := harness.Got(t, waiting)
		require.NoError(t, got.err)
		mustUnlock(t, got.held)
	})
}

func TestARetainedLockGoesWithItsSession(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, _ := c.Dial(t)
		s := c.SessionOn(t, client)
		mu := lock.NewMutex(s, harness.Name(t), lock.WithRetention(time.Minute))
		mustUnlock(t, mustLock(t, mu))
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
		require.NoError(t, err)
		harness.Ended(t, epoch.Context())
		mustUnlock(t, mustLock(t, mu)) // with the next lease
		require.NoError(t, s.Close(harness.Context(t)))
		require.Empty(t, c.Keys(t, mu.Prefix()))
	})
}

// Keeping, taking, giving back and asking for it race with each other here.
func TestRetentionUnderContentionLosesNoTurn(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		var group sync.WaitGroup
		var last atomic.Int64
		for i := range 4 {
			mu := lock.NewMutex(c.Session(t), name, lock.WithRetention(time.Duration(i+1)*300*time.Microsecond))
			for range 2 {
				group.Go(func() {
					for range 50 {
						held, err := mu.Lock(harness.Context(t))
						require.NoError(t, err)
						require.Greater(t, held.Token(), last.Swap(held.Token()))
						require.NoError(t, held.Unlock(harness.Context(t)))
					}
				})
			}
		}
		group.Wait()
		c.AwaitKeys(t, "/tenure/locks/"+name+"/", 0)
	})
}

func TestARetentionThatCannotWorkIsRefused(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s := c.Session(t)
		for _, d := range []time.Duration{0, -time.Second, 2 * time.Hour} {
			_, err := lock.NewMutex(s, "any", lock.WithRetention(d)).Lock(harness.Context(t))
			require.ErrorIs(t, err, lock.ErrOption)
		}
	})
}
