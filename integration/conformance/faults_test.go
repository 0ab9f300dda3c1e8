package conformance

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// once carries the first call that matches out and then loses its answer.
func once(match func(req any) bool) func(req any, call func() error) error {
	var lost atomic.Bool
	return func(req any, call func() error) error {
		err := call()
		if match(req) && lost.CompareAndSwap(false, true) {
			return harness.ErrDown
		}
		return err
	}
}

func TestALockWhoseAnswerWasLostIsHeldOnceAndLeavesNoSecondKey(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		mu := lock.NewMutex(c.SessionOn(t, client), harness.Name(t))
		faults.OnCall(once(func(req any) bool { return harness.Creates(req, mu.Prefix()) }))
		held := mustLock(t, mu)
		require.Len(t, c.Keys(t, mu.Prefix()), 1)
		_, revision := held.Key()
		resp, err := c.Client().Get(harness.Context(t), mu.Prefix(), clientv3.WithPrefix())
		require.NoError(t, err)
		require.Equal(t, revision, resp.Kvs[0].CreateRevision)
		mustUnlock(t, held)
		require.Empty(t, c.Keys(t, mu.Prefix()))
	})
}

func TestATimedOutLockThatCommittedLeavesNoKey(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		mu := lock.NewMutex(c.SessionOn(t, client), harness.Name(t))
		ctx, cancel := context.WithCancel(harness.Context(t))
		committed := make(chan struct{})
		faults.OnCall(func(req any, call func() error) error {
			err := call()
			if harness.Creates(req, mu.Prefix()) {
				close(committed)
				cancel() // the caller's patience ends before the answer comes
				return harness.ErrDown
			}
			return err
		})
		_, err := mu.Lock(ctx)
		require.ErrorIs(t, err, context.Canceled)
		harness.Got(t, committed)
		c.AwaitKeys(t, mu.Prefix(), 0)
	})
}

func TestATryAfterALockThatWasGivenUpFindsNoOldKey(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		held := mustLock(t, lock.NewMutex(c.Session(t), name))
		client, faults := c.Dial(t)
		mu := lock.NewMutex(c.SessionOn(t, client), name)
		ctx, cancel := context.WithCancel(harness.Context(t))
		faults.OnCall(func(req any, call func() error) error {
			err := call()
			if harness.Creates(req, mu.Prefix()) {
				cancel()
				return harness.ErrDown // it queues up, and its caller does not learn it
			}
			return err
		})
		_, err := mu.Lock(ctx)
		require.ErrorIs(t, err, context.Canceled)
		faults.Mend()
		_, err = mu.TryLock(harness.Context(t))
		require.ErrorIs(t, err, lock.ErrLocked)
		require.True(t, held.Valid())
		mustUnlock(t, held)
	})
}

// A write whose caller gave up can be applied at any later time: here it
// reaches etcd only after the attempt was cleaned up, and must not commit.
func TestALockThatArrivesAfterItsCallerGaveUpLeavesNoKey(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		mu := lock.NewMutex(c.SessionOn(t, client), harness.Name(t))
		ctx, cancel := context.WithCancel(harness.Context(t))
		late := make(chan *pb.TxnRequest, 1)
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, mu.Prefix()) {
				late <- req.(*pb.TxnRequest)
				cancel()
				return harness.ErrDown
			}
			return call()
		})
		_, err := mu.Lock(ctx)
		require.ErrorIs(t, err, context.Canceled)
		faults.Mend()

		request := harness.Got(t, late)
		answer, err := pb.NewKVClient(c.Client().ActiveConnection()).Txn(harness.Context(t), request)
		require.NoError(t, err)
		require.False(t, answer.Succeeded, "the write of an attempt that was given up committed")
		require.Empty(t, c.Keys(t, mu.Prefix()))

		mustUnlock(t, mustLock(t, mu)) // the fence was closed for the late one only
	})
}

func TestARetriedUnlockNeverDeletesALaterAcquisition(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		s := c.SessionOn(t, client)
		mu := lock.NewMutex(s, harness.Name(t))
		held := mustLock(t, mu)
		deletes := make(chan *pb.TxnRequest, 10)
		faults.OnCall(once(func(req any) bool {
			if harness.Deletes(req, mu.Prefix()) {
				deletes <- req.(*pb.TxnRequest)
				return true
			}
			return false
		}))
		mustUnlock(t, held) // the first try committed, its answer was lost

		again := mustLock(t, mu)
		answer, err := pb.NewKVClient(c.Client().ActiveConnection()).Txn(harness.Context(t), harness.Got(t, deletes))
		require.NoError(t, err)
		require.False(t, answer.Succeeded)
		require.Len(t, c.Keys(t, mu.Prefix()), 1, "a repeated deletion hit the next hold")
		require.True(t, again.Valid())
		mustUnlock(t, again)
	})
}

func TestUnlockWithADeadContextIsFinishedInTheBackground(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		mu := lock.NewMutex(c.Session(t), harness.Name(t))
		held := mustLock(t, mu)
		dead, cancel := context.WithCancel(context.Background())
		cancel()
		err := held.Unlock(dead)
		require.ErrorIs(t, err, lock.ErrPending)
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, held.Valid())
		c.AwaitKeys(t, mu.Prefix(), 0)

		// The next Lock of this session waits for that, rather than taking the
		// old key for its own.
		next := mustLock(t, mu)
		require.Greater(t, next.Token(), held.Token())
		mustUnlock(t, next)
	})
}

func TestAFailedUnlockGoesOnUntilEtcdAnswers(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		mu := lock.NewMutex(c.SessionOn(t, client, session.WithTTL(time.Minute)), harness.Name(t))
		held := mustLock(t, mu)
		faults.OnCall(func(any, func() error) error { return harness.ErrDown })
		ctx, cancel := context.WithTimeout(harness.Context(t), 100*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, held.Unlock(ctx), lock.ErrPending)
		require.Len(t, c.Keys(t, mu.Prefix()), 1)
		faults.Mend()
		c.AwaitKeys(t, mu.Prefix(), 0)
	})
}

func TestAWaiterWhoseLeaseIsGoneIsToldAtOnce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		holder := lock.NewMutex(c.Session(t), name)
		s := c.Session(t, session.WithTTL(time.Minute))
		held := mustLock(t, holder)
		waiting := lockLater(harness.Context(t), lock.NewMutex(s, name))
		c.AwaitKeys(t, holder.Prefix(), 2)
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
		require.NoError(t, err)

		got := harness.Got(t, waiting) // while the lock is still held
		require.ErrorIs(t, got.err, lock.ErrLost)
		require.ErrorIs(t, got.err, session.ErrLost)
		require.True(t, held.Valid())
		mustUnlock(t, held)
	})
}

func TestAKeyDeletedByHandEndsThatHoldAndNoOther(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s := c.Session(t, session.WithTTL(time.Second)) // looked after at each renewal
		name := harness.Name(t)
		mu := lock.NewMutex(s, name)
		lost, kept := mustLock(t, mu), mustLock(t, lock.NewMutex(s, name+"-other"))
		key, revision := lost.Key()
		_, err := c.Client().Delete(harness.Context(t), key)
		require.NoError(t, err)

		cause := harness.Ended(t, lost.Context())
		require.ErrorIs(t, cause, lock.ErrLost)
		var deleted *session.KeyError
		require.ErrorAs(t, cause, &deleted)
		require.Equal(t, revision, deleted.Revision)
		require.ErrorIs(t, lost.Unlock(harness.Context(t)), lock.ErrLost)
		require.True(t, kept.Valid(), "another lock of the session")

		mustUnlock(t, mustLock(t, mu)) // the loser's turn was passed on
		mustUnlock(t, kept)
	})
}

func TestUnlockAfterTheKeyWasDeletedSaysSo(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		mu := lock.NewMutex(c.Session(t, session.WithTTL(time.Minute)), harness.Name(t))
		held := mustLock(t, mu)
		key, _ := held.Key()
		_, err := c.Client().Delete(harness.Context(t), key)
		require.NoError(t, err)
		require.ErrorIs(t, held.Unlock(harness.Context(t)), lock.ErrLost)
	})
}

func TestAWaiterWhoseKeyIsDeletedByHandIsTold(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		holder := lock.NewMutex(c.Session(t), name)
		held := mustLock(t, holder)
		waiting := lockLater(harness.Context(t), lock.NewMutex(c.Session(t, session.WithTTL(time.Second)), name))
		c.AwaitKeys(t, holder.Prefix(), 2)
		entries, err := holder.Queue(harness.Context(t))
		require.NoError(t, err)
		_, err = c.Client().Delete(harness.Context(t), entries[1].Key)
		require.NoError(t, err)
		require.ErrorIs(t, harness.Got(t, waiting).err, lock.ErrLost)
		mustUnlock(t, held)
	})
}

func TestALockRefusedByEtcdFailsAtOnce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		// A request that etcd refuses for its size, whatever the number of
		// tries: the key's prefix is larger than a request may be.
		s := c.Session(t)
		mu := lock.NewMutex(s, "any", lock.AtKey("/"+string(make([]byte, 2<<20))))
		_, err := mu.Lock(harness.Context(t))
		require.Error(t, err)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, lock.ErrLost)
	})
}

func TestWaitingThroughACompactionKeepsThePlace(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first := lock.NewMutex(c.Session(t), name)
		held := mustLock(t, first)
		key, _ := held.Key()
		client, faults := c.Dial(t)
		early := lockLater(harness.Context(t), lock.NewMutex(c.SessionOn(t, client), name))
		c.AwaitKeys(t, first.Prefix(), 2)
		late := lockLater(harness.Context(t), lock.NewMutex(c.Session(t), name))
		c.AwaitKeys(t, first.Prefix(), 3)

		// The early waiter's watch breaks, history goes on and is compacted,
		// and the watch wants to resume behind the compaction.
		faults.OnStream(func(string) error { return harness.ErrDown })
		faults.Break()
		for range 20 {
			_, err := c.Client().Put(harness.Context(t), "/noise", "")
			require.NoError(t, err)
		}
		now, err := c.Client().Get(harness.Context(t), "/noise")
		require.NoError(t, err)
		_, err = c.Client().Compact(harness.Context(t), now.Header.Revision)
		require.NoError(t, err)
		reread := make(chan struct{}, 10)
		faults.OnCall(func(req any, call func() error) error {
			err := call()
			if get, ok := req.(*pb.RangeRequest); ok && string(get.Key) == key {
				reread <- struct{}{}
			}
			return err
		})
		faults.OnStream(nil)
		harness.Got(t, reread) // the state, because the events are gone

		require.Len(t, c.Keys(t, first.Prefix()), 3)
		select {
		case <-early:
			require.FailNow(t, "granted while the holder's key is there")
		case <-late:
			require.FailNow(t, "the later waiter was granted first")
		default:
		}
		mustUnlock(t, held)
		got := harness.Got(t, early)
		require.NoError(t, got.err)
		mustUnlock(t, got.held)
		mustUnlock(t, harness.Got(t, late).held)
	})
}

func TestAFailingWatchNeitherSpinsNorGrants(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first := lock.NewMutex(c.Session(t), name)
		held := mustLock(t, first)
		client, faults := c.Dial(t)
		s := c.SessionOn(t, client)
		var opened atomic.Int64
		faults.OnStream(func(method string) error {
			if method != "/etcdserverpb.Watch/Watch" {
				return nil
			}
			opened.Add(1)
			return harness.ErrDown
		})
		ctx, cancel := context.WithTimeout(harness.Context(t), time.Second)
		defer cancel()
		_, err := lock.NewMutex(s, name).Lock(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "it waited, and was not granted")
		require.Less(t, opened.Load(), int64(200), "it spun")
		require.True(t, held.Valid())
		mustUnlock(t, held)
	})
}

// A watch that starts at or below the store's current revision is served by a
// loop that wakes every 100 ms.
func TestAHandoffDoesNotWaitForTheWatchLoopOf100ms(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first := lock.NewMutex(c.Session(t), name)
		client, faults := c.Dial(t)
		second := lock.NewMutex(c.SessionOn(t, client), name)
		starts := make(chan int64, 1000)
		faults.OnSend(func(msg any) {
			req, ok := msg.(*pb.WatchRequest)
			if watch := req.GetCreateRequest(); ok && strings.HasPrefix(string(watch.GetKey()), first.Prefix()) {
				starts <- watch.StartRevision
			}
		})
		for range 20 {
			held := mustLock(t, first)
			waiting := lockLater(harness.Context(t), second)
			require.Zero(t, harness.Got(t, starts), "the watch began in the past")
			mustUnlock(t, held)
			mustUnlock(t, harness.Got(t, waiting).held)
		}
	})
}

func TestAReleaseWakesOneWaiterHoweverLongTheQueue(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first := lock.NewMutex(c.Session(t), name)
		held := mustLock(t, first)
		const waiters = 20
		var watches atomic.Int64
		results := make([]<-chan locked, waiters)
		for i := range waiters {
			client, faults := c.Dial(t)
			s := c.SessionOn(t, client)
			faults.OnSend(func(msg any) {
				req, ok := msg.(*pb.WatchRequest)
				if watch := req.GetCreateRequest(); ok && strings.HasPrefix(string(watch.GetKey()), first.Prefix()) {
					require.Empty(t, watch.RangeEnd, "a waiter watches one key, not the queue")
					require.Contains(t, watch.Filters, pb.WatchCreateRequest_NOPUT)
					watches.Add(1)
				}
			})
			results[i] = lockLater(harness.Context(t), lock.NewMutex(s, name))
			c.AwaitKeys(t, first.Prefix(), i+2)
		}
		mustUnlock(t, held)
		for _, result := range results {
			got := harness.Got(t, result)
			require.NoError(t, got.err)
			mustUnlock(t, got.held)
		}
		require.EqualValues(t, waiters, watches.Load(), "one watch for each wait")
	})
}

func TestAnotherProgramOnTheSameLeaseIsNotTakenForUs(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s := c.Session(t)
		mu := lock.NewMutex(s, harness.Name(t))
		held := mustLock(t, mu)
		key, _ := held.Key()
		mustUnlock(t, held)
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		_, err = c.Client().Put(harness.Context(t), key, "somebody else's", clientv3.WithLease(epoch.Lease()))
		require.NoError(t, err)
		_, err = mu.Lock(harness.Context(t))
		require.ErrorIs(t, err, lock.ErrShared)
		_, err = mu.TryLock(harness.Context(t))
		require.True(t, errors.Is(err, lock.ErrShared), "%v", err)
		require.Len(t, c.Keys(t, mu.Prefix()), 1, "it is left alone")
	})
}
