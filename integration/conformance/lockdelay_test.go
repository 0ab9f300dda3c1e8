package conformance

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// markerOf is the key that delays the grant of a lock.
func markerOf(mu *lock.Mutex) string { return keys.Space(keys.DefaultNamespace).Delay(mu.Prefix()) }

// crashed is a lock whose holder has died with an hour's delay.
func crashed(t *testing.T, c *harness.Cluster) (s *session.Session, name string) {
	t.Helper()
	name = harness.Name(t)
	dies := c.Session(t)
	mu := lock.NewMutex(dies, name, lock.WithLockDelay(time.Hour))
	held := mustLock(t, mu)
	epoch, err := dies.Epoch(harness.Context(t))
	require.NoError(t, err)
	_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
	require.NoError(t, err)
	harness.Ended(t, held.Context())
	require.Empty(t, c.Keys(t, mu.Prefix()))
	require.Len(t, c.Keys(t, markerOf(mu)), 1)
	t.Cleanup(func() { // nobody else should wait for an hour
		_, err := c.Client().Delete(context.Background(), markerOf(mu))
		require.NoError(t, err)
	})
	return c.Session(t), name
}

func TestAfterACrashTheNextHolderWaits(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s, name := crashed(t, c)
		mu := lock.NewMutex(s, name, lock.WithLockDelay(time.Second))
		_, err := mu.TryLock(harness.Context(t))
		require.ErrorIs(t, err, lock.ErrLocked)
		require.Empty(t, c.Keys(t, mu.Prefix()), "a failed try never queued up")

		ctx, cancel := context.WithCancel(harness.Context(t))
		impatient := lockLater(ctx, mu)
		c.AwaitKeys(t, mu.Prefix(), 1)
		cancel()
		require.ErrorIs(t, harness.Got(t, impatient).err, context.Canceled)
		c.AwaitKeys(t, mu.Prefix(), 0)
		require.Len(t, c.Keys(t, markerOf(mu)), 1, "who gave up took the dead one's marker along")

		unconcerned := lock.NewMutex(c.Session(t), name) // has not set the option
		mustUnlock(t, mustLock(t, unconcerned))
		require.Len(t, c.Keys(t, markerOf(mu)), 1)

		waiting := lockLater(harness.Context(t), mu)
		c.AwaitKeys(t, mu.Prefix(), 1)
		behind := lockLater(harness.Context(t), unconcerned) // and still keeps to the order
		c.AwaitKeys(t, mu.Prefix(), 2)
		_, err = c.Client().Delete(harness.Context(t), markerOf(mu)) // as if its lease had run out
		require.NoError(t, err)
		got := harness.Got(t, waiting)
		require.NoError(t, got.err)
		require.Len(t, c.Keys(t, markerOf(mu)), 1, "the next holder's own")
		mustUnlock(t, got.held)
		require.Empty(t, c.Keys(t, markerOf(mu)))
		mustUnlock(t, harness.Got(t, behind).held)
	})
}

func TestAfterACleanReleaseNobodyWaits(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		s, delay := c.Session(t, session.WithTTL(2*time.Second)), lock.WithLockDelay(time.Hour)
		first, second := lock.NewMutex(s, name, delay), lock.NewMutex(c.Session(t), name, delay)
		for range 3 {
			mustUnlock(t, mustLock(t, first))
			held, err := second.TryLock(harness.Context(t))
			require.NoError(t, err)
			mustUnlock(t, held)
			require.Empty(t, c.Keys(t, markerOf(first)))
		}
		both, err := lock.All(harness.Context(t), first, lock.NewMutex(s, name+"-2", delay))
		require.NoError(t, err)
		require.NoError(t, both.Unlock(harness.Context(t)))
		require.Empty(t, c.Keys(t, markerOf(first)))

		held := mustLock(t, first)
		require.NoError(t, entryOf(t, held, first.Queue).ForceRelease(harness.Context(t), c.Client(), "", "the test"))
		mustUnlock(t, mustLock(t, second))

		held = mustLock(t, first)
		waiting := lockLater(harness.Context(t), second)
		c.AwaitKeys(t, first.Prefix(), 2)
		require.NoError(t, s.Close(harness.Context(t)))
		require.False(t, held.Valid())
		got := harness.Got(t, waiting)
		require.NoError(t, got.err)
		mustUnlock(t, got.held)
		require.Empty(t, c.Keys(t, markerOf(first)))
	})
}

func TestAKeyDeletedByHandDelaysOnlyUntilItsHolderKnows(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name, delay := harness.Name(t), lock.WithLockDelay(time.Hour)
		s := c.Session(t, session.WithTTL(time.Second))
		mu := lock.NewMutex(s, name, delay)
		held := mustLock(t, mu)
		waiting := lockLater(harness.Context(t), lock.NewMutex(c.Session(t), name, delay))
		c.AwaitKeys(t, mu.Prefix(), 2)
		key, _ := held.Key()
		_, err := c.Client().Delete(harness.Context(t), key)
		require.NoError(t, err)
		require.ErrorIs(t, harness.Ended(t, held.Context()), lock.ErrLost)
		got := harness.Got(t, waiting)
		require.NoError(t, got.err)
		mustUnlock(t, got.held)
		mustUnlock(t, mustLock(t, mu))
		require.Empty(t, c.Keys(t, markerOf(mu)))
	})
}

func TestAMarkerWhoseAnswerWasLostIsTheHoldersOwn(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		mu := lock.NewMutex(c.SessionOn(t, client), harness.Name(t), lock.WithLockDelay(time.Hour))
		faults.OnCall(once(func(req any) bool { return harness.Creates(req, markerOf(mu)) }))
		held := mustLock(t, mu)
		require.Len(t, c.Keys(t, markerOf(mu)), 1)
		faults.OnCall(once(func(req any) bool { return harness.Deletes(req, mu.Prefix()) }))
		mustUnlock(t, held)
		require.Empty(t, c.Keys(t, markerOf(mu)))
		mustUnlock(t, mustLock(t, mu))

		// The caller gives up, and does not know that the marker is there.
		ctx, cancel := context.WithCancel(harness.Context(t))
		faults.OnCall(func(req any, call func() error) error {
			err := call()
			if harness.Creates(req, markerOf(mu)) {
				cancel()
				return harness.ErrDown
			}
			return err
		})
		_, err := mu.Lock(ctx)
		require.ErrorIs(t, err, context.Canceled)
		c.AwaitKeys(t, mu.Prefix(), 0)
		require.Empty(t, c.Keys(t, markerOf(mu)))
	})
}

func TestALockDelayThatCannotWorkIsRefused(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s := c.Session(t)
		for _, d := range []time.Duration{0, -time.Second, 2 * time.Hour} {
			_, err := lock.NewMutex(s, "any", lock.WithLockDelay(d)).Lock(harness.Context(t))
			require.ErrorIs(t, err, lock.ErrOption)
		}
	})
}
