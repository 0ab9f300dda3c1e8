package conformance

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// requestsTo is the prefix of what a session is asked for.
func requestsTo(t *testing.T, s *session.Session) string {
	t.Helper()
	epoch, err := s.Epoch(harness.Context(t))
	require.NoError(t, err)
	return keys.Space(s.Namespace()).Requests(epoch.Lease())
}

// entryOf is the entry of a key in its queue.
func entryOf(t *testing.T, held *lock.Held, queue func(context.Context) ([]lock.Entry, error)) lock.Entry {
	t.Helper()
	entries, err := queue(harness.Context(t))
	require.NoError(t, err)
	for _, e := range entries {
		if e.Token>>16 == held.Token()>>16 {
			return e
		}
	}
	require.FailNow(t, "it is not in the queue")
	panic("unreachable")
}

// requested waits until a holder was asked.
func requested(t *testing.T, held *lock.Held) { t.Helper(); harness.Got(t, held.Requested()) }

// listening returns once a session hears of requests as they come. Before, it
// finds them when it looks for the first time.
func listening(t *testing.T, s *session.Session) {
	t.Helper()
	mu := lock.NewMutex(s, harness.Name(t))
	held := mustLock(t, mu)
	require.NoError(t, mu.Request(harness.Context(t)))
	requested(t, held)
	mustUnlock(t, held)
}

func notRequested(t *testing.T, held *lock.Held) {
	t.Helper()
	select {
	case <-held.Requested():
		require.FailNow(t, "asked for the lock")
	default:
	}
}

func TestAWaiterAsksTheHolderToGiveUp(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		var watches, removals atomic.Int64
		faults.OnSend(func(msg any) {
			if req, ok := msg.(*pb.WatchRequest); ok && req.GetCreateRequest() != nil {
				watches.Add(1)
			}
		})
		s := c.SessionOn(t, client, session.WithTTL(time.Minute))
		mu, other := lock.NewMutex(s, name), lock.NewMutex(c.Session(t), name)
		held := mustLock(t, mu)
		notRequested(t, held)
		waiting := lockLater(harness.Context(t), other)
		c.AwaitKeys(t, mu.Prefix(), 2)
		for range 3 { // it is one request, however often
			require.NoError(t, other.Request(harness.Context(t)))
		}
		requested(t, held)
		require.True(t, held.Valid(), "it was asked, not told")
		requests := requestsTo(t, s)
		require.Len(t, c.Keys(t, requests), 1)
		require.Len(t, c.Keys(t, mu.Prefix()), 2, "a request is not in the queue")
		infos, err := session.List(harness.Context(t), c.Client(), "")
		require.NoError(t, err)
		for _, info := range infos {
			require.NotZero(t, info.Lease, "a request was taken for a session")
		}

		faults.OnCall(func(req any, call func() error) error {
			if harness.Deletes(req, requests) {
				removals.Add(1)
			}
			return call()
		})
		mustUnlock(t, held)
		require.Empty(t, c.Keys(t, requests), "the request stays behind")
		require.EqualValues(t, 1, removals.Load(), "in the transaction that removed the lock's key")
		require.EqualValues(t, 1, watches.Load(), "a watch for each held lock")
		got := harness.Got(t, waiting)
		require.NoError(t, got.err)
		notRequested(t, got.held)
		mustUnlock(t, got.held)
	})
}

func TestAllHoldersAreAsked(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		ctx, name := harness.Context(t), harness.Name(t)
		a, b, asks := c.Session(t), c.Session(t), c.Session(t)
		var held []*lock.Held
		hold := func(h *lock.Held, err error) *lock.Held {
			require.NoError(t, err)
			held = append(held, h)
			return h
		}
		hold(lock.NewRWMutex(a, name).RLock(ctx))
		hold(lock.NewRWMutex(a, name).RLock(ctx))
		hold(lock.NewRWMutex(b, name).RLock(ctx))
		hold(lock.NewSemaphore(a, name, 3).Acquire(ctx, 1))
		hold(lock.NewSemaphore(b, name, 3).Acquire(ctx, 1))
		written := hold(lock.NewRWMutex(b, name+"-2").Lock(ctx))
		for _, ask := range []func(context.Context) error{
			lock.NewRWMutex(asks, name).Request, lock.NewRWMutex(asks, name+"-2").Request,
			lock.NewSemaphore(asks, name, 3).Request, lock.NewMutex(asks, name).Request, // which nobody holds
		} {
			require.NoError(t, ask(ctx))
		}
		for _, h := range held {
			requested(t, h)
		}
		read, err := lock.NewRWMutex(b, name+"-2").Downgrade(ctx, written)
		require.NoError(t, err)
		requested(t, read) // the key is the same
		held[len(held)-1] = read
		for _, h := range held {
			mustUnlock(t, h)
		}
		require.Empty(t, c.Keys(t, requestsTo(t, a)))
		require.Empty(t, c.Keys(t, requestsTo(t, b)))
	})
}

func TestARetainedLockIsGivenBackOnRequest(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name, s := harness.Name(t), c.Session(t)
		mu := lock.NewMutex(s, name, lock.WithRetention(time.Hour))
		for range 3 {
			mustUnlock(t, mustLock(t, mu))
			require.Len(t, c.Keys(t, mu.Prefix()), 1)
			require.NoError(t, lock.NewMutex(c.Session(t), name).Request(harness.Context(t)))
			c.AwaitKeys(t, mu.Prefix(), 0)
			c.AwaitKeys(t, requestsTo(t, s), 0)
		}

		held := mustLock(t, mu)
		mustUnlock(t, held)
		held = mustLock(t, mu) // the same key again
		require.NoError(t, mu.Request(harness.Context(t)))
		requested(t, held)
		mustUnlock(t, held)
		c.AwaitKeys(t, mu.Prefix(), 0)
	})
}

// The session hears of the request only when it holds the name again, by a key
// of the same name.
func TestARequestNeverReachesALaterHold(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		s := c.SessionOn(t, client, session.WithTTL(time.Second)) // looked after at each renewal
		mu := lock.NewMutex(s, name)
		held := mustLock(t, mu)
		entry := entryOf(t, held, mu.Queue)
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		requests := requestsTo(t, s)
		listening(t, s)

		heard := make(chan struct{}, 100)
		faults.OnReceive(func(msg any) {
			resp, ok := msg.(*pb.WatchResponse)
			for _, ev := range resp.GetEvents() {
				if ok && strings.HasPrefix(string(ev.Kv.Key), requests) {
					heard <- struct{}{}
				}
			}
		})
		faults.OnStream(func(method string) error {
			if method == "/etcdserverpb.Watch/Watch" {
				return harness.ErrDown
			}
			return nil
		})
		faults.Break()
		require.NoError(t, entry.Request(harness.Context(t), c.Client(), "", "the test"))
		require.Len(t, c.Keys(t, requests), 1)
		mustUnlock(t, held)
		again := mustLock(t, mu)
		require.NoError(t, entry.Request(harness.Context(t), c.Client(), "", "the test"), "what it asks for has gone")
		require.NoError(t, entry.ForceRelease(harness.Context(t), c.Client(), "", "the test"))
		faults.OnStream(nil)
		harness.Got(t, heard)
		c.AwaitKeys(t, requests, 0) // it is of no use, and does not stay
		notRequested(t, again)
		require.True(t, again.Valid())
		require.True(t, epoch.Valid())
		mustUnlock(t, again)
	})
}

func TestARequestThatComesBeforeTheLocksAnswerIsNotLost(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		for _, force := range []bool{false, true} {
			client, faults := c.Dial(t)
			s := c.SessionOn(t, client, session.WithTTL(time.Minute))
			mu := lock.NewMutex(s, harness.Name(t))
			listening(t, s)
			requests, heard := requestsTo(t, s), make(chan struct{}, 10)
			faults.OnReceive(func(msg any) {
				resp, ok := msg.(*pb.WatchResponse)
				for _, ev := range resp.GetEvents() {
					if ok && strings.HasPrefix(string(ev.Kv.Key), requests) {
						heard <- struct{}{}
					}
				}
			})
			var group sync.WaitGroup
			faults.OnCall(func(req any, call func() error) error {
				err := call()
				if !harness.Creates(req, mu.Prefix()) {
					return err
				}
				entries, listed := lock.Queue(harness.Context(t), c.Client(), "", mu.Name())
				require.NoError(t, listed)
				if force {
					group.Go(func() {
						require.NoError(t, entries[0].ForceRelease(harness.Context(t), c.Client(), "", "the test"))
					})
				} else {
					require.NoError(t, entries[0].Request(harness.Context(t), c.Client(), "", "the test"))
				}
				harness.Got(t, heard)
				return err
			})
			held, err := mu.Lock(harness.Context(t))
			if force {
				// It may have been taken away between the two.
				if err == nil {
					require.ErrorIs(t, harness.Ended(t, held.Context()), lock.ErrForced)
				} else {
					require.ErrorIs(t, err, lock.ErrForced)
				}
			} else {
				require.NoError(t, err)
				requested(t, held)
				mustUnlock(t, held)
			}
			faults.Mend()
			group.Wait()
			require.Empty(t, c.Keys(t, mu.Prefix()))
			require.Empty(t, c.Keys(t, requests))
		}
	})
}

func TestAnotherProgramCannotBeAsked(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		mu := lock.NewMutex(c.Session(t), "any", lock.AtKey("/shared/"+name))
		lease, err := c.Client().Grant(harness.Context(t), 60)
		require.NoError(t, err)
		for _, opts := range [][]clientv3.OpOption{{clientv3.WithLease(lease.ID)}, {}} {
			_, err := c.Client().Put(harness.Context(t), mu.Prefix()+"theirs", "", opts...)
			require.NoError(t, err)
			require.ErrorIs(t, mu.Request(harness.Context(t)), lock.ErrNoSession)
			entries, err := mu.Queue(harness.Context(t))
			require.NoError(t, err)
			require.ErrorIs(t, entries[0].ForceRelease(harness.Context(t), c.Client(), "", "the test"), lock.ErrNoSession)
			require.Len(t, c.Keys(t, mu.Prefix()), 1, "it is left alone")
		}
		_, err = c.Client().Revoke(harness.Context(t), lease.ID)
		require.NoError(t, err)
	})
}

func TestALockThatNobodyAskedForIsReleasedByOneDeletion(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		client, faults := c.Dial(t)
		mu := lock.NewMutex(c.SessionOn(t, client), harness.Name(t))
		seen := make(chan *pb.TxnRequest, 10)
		faults.OnCall(func(req any, call func() error) error {
			if txn, ok := req.(*pb.TxnRequest); ok {
				seen <- txn
			}
			return call()
		})
		mustUnlock(t, mustLock(t, mu))
		require.Len(t, seen, 2)
		<-seen
		release := <-seen
		require.Len(t, release.Compare, 1)
		require.Len(t, release.Success, 1)
		require.Empty(t, release.Failure)
	})
}
