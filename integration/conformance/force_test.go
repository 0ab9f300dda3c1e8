package conformance

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

func TestAForcedReleaseEndsTheHandleBeforeTheKeyGoes(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		s := c.SessionOn(t, client)
		var group sync.WaitGroup
		for kind, held := range handles(t, s) {
			key, revision := held.Key()
			early := make(chan bool, 100)
			faults.OnCall(func(req any, call func() error) error {
				if harness.Deletes(req, key) {
					early <- held.Context().Err() == nil || held.Valid()
				}
				return call()
			})
			epoch, err := s.Epoch(harness.Context(t))
			require.NoError(t, err)
			entry := lock.Entry{Key: key, Revision: revision, Lease: epoch.Lease()}
			require.NoError(t, entry.Request(harness.Context(t), c.Client(), "", "the test"))
			requested(t, held)
			if kind != "mutex" { // which leaves it to the margin
				group.Go(func() {
					<-held.Context().Done()
					require.ErrorIs(t, held.Unlock(harness.Context(t)), lock.ErrForced, kind)
				})
			}
			require.NoError(t, entry.ForceRelease(harness.Context(t), c.Client(), "", "the test"), "what asked makes way for force")
			require.False(t, harness.Got(t, early), kind)
			require.False(t, held.Valid())
			require.ErrorIs(t, context.Cause(held.Context()), lock.ErrForced, kind)
			require.ErrorIs(t, context.Cause(held.Context()), lock.ErrLost, kind)
			require.ErrorIs(t, held.Unlock(harness.Context(t)), lock.ErrForced, kind)
			require.Empty(t, c.Keys(t, key), kind)
			require.Empty(t, c.Keys(t, requestsTo(t, s)), kind)
			require.NoError(t, entry.ForceRelease(harness.Context(t), c.Client(), "", "the test"), "again")
		}
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		require.EqualValues(t, 1, epoch.Number(), "the session lives on")
		group.Wait()
	})
}

func TestWorkUnderAForcedReleaseIsToldSo(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		mu := lock.NewMutex(c.Session(t), name)
		waiting := make(<-chan locked)
		err := mu.Do(harness.Context(t), func(ctx context.Context, held *lock.Held) error {
			waiting = lockLater(harness.Context(t), lock.NewMutex(c.Session(t), name))
			go func() {
				entries, err := mu.Queue(harness.Context(t))
				if err == nil {
					_ = entries[0].ForceRelease(harness.Context(t), c.Client(), "", "the test")
				}
			}()
			return harness.Ended(t, ctx)
		})
		require.ErrorIs(t, err, lock.ErrForced)
		got := harness.Got(t, waiting)
		require.NoError(t, got.err)
		mustUnlock(t, got.held)
	})
}

func TestAForcedReleaseOfADeadHolderWaitsForItsLease(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		mu := lock.NewMutex(c.SessionOn(t, client, session.WithTTL(time.Second)), harness.Name(t))
		held := mustLock(t, mu)
		entry := entryOf(t, held, mu.Queue)
		faults.Cut()
		faults.Break()
		impatient, cancel := context.WithTimeout(harness.Context(t), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, entry.ForceRelease(impatient, c.Client(), "", "the test"), context.DeadlineExceeded)
		require.NoError(t, entry.ForceRelease(harness.Context(t), c.Client(), "", "the test"))
		require.Error(t, held.Context().Err(), "the key is gone and the context has not ended")
		require.Empty(t, c.Keys(t, mu.Prefix()))
		faults.Mend()
	})
}

func TestAWaiterThatIsForcedOutLosesItsPlace(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		mu := lock.NewMutex(c.Session(t), name)
		held := mustLock(t, mu)
		waiting := lockLater(harness.Context(t), lock.NewMutex(c.Session(t), name))
		c.AwaitKeys(t, mu.Prefix(), 2)
		entries, err := mu.Queue(harness.Context(t))
		require.NoError(t, err)
		require.NoError(t, entries[1].ForceRelease(harness.Context(t), c.Client(), "", "the test"))
		require.ErrorIs(t, harness.Got(t, waiting).err, lock.ErrForced)
		require.True(t, held.Valid())
		mustUnlock(t, held)
	})
}

func TestARetainedLockIsTakenAwayByForce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		mu := lock.NewMutex(c.Session(t), harness.Name(t), lock.WithRetention(time.Hour))
		held := mustLock(t, mu)
		entry := entryOf(t, held, mu.Queue)
		mustUnlock(t, held)
		require.NoError(t, entry.ForceRelease(harness.Context(t), c.Client(), "", "the test"))
		mustUnlock(t, mustLock(t, mu))
	})
}

// Asking, taking away, keeping, handing on and locking race with each other.
func TestForcedReleasesUnderContentionLoseNoTurn(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		var inside, taken atomic.Int64
		var group, operators sync.WaitGroup
		ctx, stop := context.WithCancel(harness.Context(t))
		defer stop()
		for i := range 2 {
			s := c.Session(t)
			opts := []lock.Option{lock.WithRetention(time.Millisecond)}
			mu := lock.NewMutex(s, name, opts[:i]...)
			for range 3 {
				group.Go(func() {
					for done := 0; done < 40; {
						held, err := mu.Lock(harness.Context(t))
						if err != nil {
							require.ErrorIs(t, err, lock.ErrForced)
							continue
						}
						inside.Add(1)
						if done%4 == 0 { // does not go before it is asked or told to
							select {
							case <-held.Requested():
							case <-held.Context().Done():
							}
						}
						err = held.Unlock(harness.Context(t))
						if err != nil {
							taken.Add(1)
							require.ErrorIs(t, err, lock.ErrForced)
							continue
						}
						done++
					}
				})
			}
			operators.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					entries, err := mu.Queue(ctx)
					if err != nil || len(entries) == 0 {
						continue
					}
					if n%2 == 0 {
						_ = entries[n/2%len(entries)].ForceRelease(ctx, c.Client(), "", "the test")
					} else {
						_ = entries[0].Request(ctx, c.Client(), "", "the test")
					}
				}
			})
		}
		group.Wait()
		stop()
		operators.Wait()
		require.Positive(t, taken.Load())
		require.GreaterOrEqual(t, inside.Load(), int64(240))
		mu := lock.NewMutex(c.Session(t), name)
		mustUnlock(t, mustLock(t, mu))
		c.AwaitKeys(t, mu.Prefix(), 0)
	})
}
