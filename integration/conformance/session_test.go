package conformance

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

func TestASessionTellsWhoOwnsALease(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		s := c.Session(t, session.WithName(name))
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		infos, err := session.List(harness.Context(t), c.Client(), "")
		require.NoError(t, err)
		for _, info := range infos {
			if info.Lease == epoch.Lease() {
				require.Equal(t, name, info.Name)
				require.NotEmpty(t, info.Host)
				require.Positive(t, info.PID)
				require.False(t, info.Started.IsZero())
				require.Equal(t, session.Version, info.Version)
				return
			}
		}
		require.FailNow(t, "the session is not listed")
	})
}

func TestTheGrantedTTLCountsNotTheOneAskedFor(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s := c.Session(t, session.WithTTL(2500*time.Millisecond))
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		answer, err := c.Client().TimeToLive(harness.Context(t), epoch.Lease())
		require.NoError(t, err)
		require.Equal(t, time.Duration(answer.GrantedTTL)*time.Second, epoch.TTL())
		require.Equal(t, 3*time.Second, epoch.TTL())
		require.Less(t, epoch.Remaining(), epoch.TTL())
	})
}

func TestCreatingASessionNeverReturnsNothingAndNoError(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		for _, bad := range []session.Option{
			session.WithTTL(0), session.WithTTL(-time.Second), session.WithTTL(48 * time.Hour),
			session.WithName(""), session.WithNamespace(""), session.WithNamespace("//"), session.WithLogger(nil),
		} {
			s, err := session.New(harness.Context(t), client, bad)
			require.ErrorIs(t, err, session.ErrConfig)
			require.Nil(t, s)
		}
		s, err := session.New(harness.Context(t), nil)
		require.ErrorIs(t, err, session.ErrConfig)
		require.Nil(t, s)

		faults.Cut()
		ctx, cancel := context.WithTimeout(harness.Context(t), 300*time.Millisecond)
		defer cancel()
		s, err = session.New(ctx, client)
		require.ErrorIs(t, err, context.DeadlineExceeded, "creation is bounded by its context")
		require.ErrorContains(t, err, "made to fail", "and says what etcd answered")
		require.Nil(t, s)
	})
}

func TestTheContextOfTheCreationDoesNotBoundTheLife(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, _ := c.Dial(t)
		renewed := make(chan struct{}, 100)
		ctx, cancel := context.WithCancel(harness.Context(t))
		s, err := session.New(ctx, client, session.WithTTL(time.Second),
			session.WithObserver(session.Observer{Renewed: func(session.Renewal) { renewed <- struct{}{} }}))
		require.NoError(t, err)
		cancel()
		for range 4 { // more than a TTL
			harness.Got(t, renewed)
		}
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		require.EqualValues(t, 1, epoch.Number())
		require.NoError(t, s.Close(harness.Context(t)))
	})
}

func TestCloseLeavesNothing(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, _ := c.Dial(t)
		namespace := "/" + harness.Name(t) + "/"
		s := c.SessionOn(t, client, session.WithNamespace(namespace))
		held := mustLock(t, lock.NewMutex(s, "a"))
		waiting := lockLater(harness.Context(t), lock.NewMutex(c.Session(t, session.WithNamespace(namespace)), "a"))
		c.AwaitKeys(t, namespace+"locks/", 2)
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)

		require.NoError(t, s.Close(harness.Context(t)))
		require.False(t, held.Valid())
		require.ErrorIs(t, context.Cause(held.Context()), session.ErrClosed)
		require.ErrorIs(t, context.Cause(held.Context()), lock.ErrLost)
		require.ErrorIs(t, context.Cause(epoch.Context()), session.ErrClosed)
		require.ErrorIs(t, held.Unlock(harness.Context(t)), lock.ErrLost)
		_, err = s.Epoch(harness.Context(t))
		require.ErrorIs(t, err, session.ErrClosed)
		_, err = lock.NewMutex(s, "a").Lock(harness.Context(t))
		require.ErrorIs(t, err, session.ErrClosed)
		require.NoError(t, s.Close(harness.Context(t)), "again")

		other := harness.Got(t, waiting)
		require.NoError(t, other.err, "the waiter is granted at once")
		mustUnlock(t, other.held)
		left, err := c.Client().TimeToLive(harness.Context(t), epoch.Lease())
		require.NoError(t, err)
		require.EqualValues(t, -1, left.TTL, "the lease is revoked")
	})
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		require.Empty(t, harness.Goroutines())
		client, _ := c.Dial(t)
		s := c.SessionOn(t, client)
		mustLock(t, lock.NewMutex(s, harness.Name(t)))
		require.NotEmpty(t, harness.Goroutines())
		require.NoError(t, s.Close(harness.Context(t)))
		require.Empty(t, harness.Goroutines())
	})
}

func TestCloseWaitsForWork(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, _ := c.Dial(t)
		s := c.SessionOn(t, client)
		mu := lock.NewMutex(s, harness.Name(t))
		begun, told, finish := make(chan struct{}), make(chan struct{}), make(chan struct{})
		done := make(chan error, 1)
		go func() {
			done <- mu.Do(harness.Context(t), func(ctx context.Context, _ *lock.Held) error {
				close(begun)
				<-ctx.Done()
				close(told)
				<-finish
				return nil
			})
		}()
		harness.Got(t, begun)

		short, cancel := context.WithCancel(harness.Context(t))
		go func() {
			<-told
			cancel()
		}()
		require.ErrorIs(t, s.Close(short), session.ErrWorkRunning)
		require.Len(t, c.Keys(t, mu.Prefix()), 1, "work runs, so its lock is not handed over")

		close(finish)
		require.NoError(t, s.Close(harness.Context(t)))
		require.ErrorIs(t, harness.Got(t, done), lock.ErrLost, "the work did not keep the lock to its end")
		require.Empty(t, c.Keys(t, mu.Prefix()))
	})
}

func TestARevokedLeaseIsNoticedAtOnceAndTheSessionComesBack(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, _ := c.Dial(t)
		var mu sync.Mutex
		var losses []*session.LossError
		// A renewal of a minute's lease comes after 20 s: only the watch can
		// tell in time.
		s := c.SessionOn(t, client, session.WithTTL(time.Minute), session.WithObserver(session.Observer{
			Lost: func(l *session.LossError) { mu.Lock(); losses = append(losses, l); mu.Unlock() },
		}))
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		held := mustLock(t, lock.NewMutex(s, harness.Name(t)))

		_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
		require.NoError(t, err)
		cause := harness.Ended(t, held.Context())
		require.ErrorIs(t, cause, lock.ErrLost)
		var loss *session.LossError
		require.ErrorAs(t, cause, &loss)
		require.Equal(t, session.ReasonGone, loss.Reason)
		require.Equal(t, epoch.Lease(), loss.Lease)
		require.ErrorIs(t, context.Cause(epoch.Context()), session.ErrLost)

		next, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		require.EqualValues(t, 2, next.Number())
		require.NotEqual(t, epoch.Lease(), next.Lease())
		require.False(t, held.Valid(), "what was lost stays lost")
		require.ErrorIs(t, held.Unlock(harness.Context(t)), lock.ErrLost)
		mu.Lock()
		require.Len(t, losses, 1)
		mu.Unlock()
	})
}

func TestAPartitionedSessionSaysWhyAndComesBack(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		s := c.SessionOn(t, client, session.WithTTL(time.Second))
		held := mustLock(t, lock.NewMutex(s, harness.Name(t)))
		faults.Cut()
		cause := harness.Ended(t, held.Context())
		var loss *session.LossError
		require.ErrorAs(t, cause, &loss)
		require.Equal(t, session.ReasonDeadline, loss.Reason)
		require.ErrorContains(t, loss, "made to fail", "it says what the renewals answered")
		require.False(t, held.Valid())

		faults.Mend()
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		require.True(t, epoch.Valid())
	})
}

func TestASessionKeyDeletedByHandIsPutBack(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, _ := c.Dial(t)
		namespace := "/" + harness.Name(t) + "/"
		s := c.SessionOn(t, client, session.WithNamespace(namespace), session.WithTTL(time.Minute))
		held := mustLock(t, lock.NewMutex(s, "a"))
		_, err := c.Client().Delete(harness.Context(t), namespace+"sessions/", clientv3.WithPrefix())
		require.NoError(t, err)
		c.AwaitKeys(t, namespace+"sessions/", 1)
		require.True(t, held.Valid(), "the lease lives")
		other := mustLock(t, lock.NewMutex(s, "b"))
		mustUnlock(t, other)
		mustUnlock(t, held)
	})
}

func TestTheObserverSeesGrantsRenewalsAndTheirFailures(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		seen := make(chan string, 1000)
		s := c.SessionOn(t, client, session.WithTTL(time.Second), session.WithObserver(session.Observer{
			Granted: func(g session.Grant) { seen <- fmt.Sprintf("granted %d", g.Epoch) },
			Renewed: func(r session.Renewal) { seen <- fmt.Sprintf("renewed %t", r.Err == nil) },
			Lost:    func(l *session.LossError) { seen <- "lost " + string(l.Reason) },
		}))
		await := func(want string) {
			t.Helper()
			for harness.Got(t, seen) != want {
			}
		}
		await("granted 1")
		await("renewed true")
		faults.Cut()
		await("renewed false")
		await("lost deadline")
		faults.Mend()
		await("granted 2")
		require.NoError(t, s.Close(harness.Context(t)))
	})
}

func TestNamespacesDoNotMeet(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		here := c.Session(t)
		there := c.Session(t, session.WithNamespace("/other-team"))
		require.Equal(t, "/other-team/", there.Namespace())
		first := mustLock(t, lock.NewMutex(here, name))
		second, err := lock.NewMutex(there, name).TryLock(harness.Context(t))
		require.NoError(t, err)
		mustUnlock(t, first)
		mustUnlock(t, second)
	})
}
