package conformance

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/lock"
)

// later calls what acquires a lock in a goroutine.
func later(ctx context.Context, acquire func(context.Context) (*lock.Held, error)) <-chan locked {
	result := make(chan locked, 1)
	go func() {
		held, err := acquire(ctx)
		result <- locked{held, err}
	}()
	return result
}

// must acquires a lock that can be had.
func must(t *testing.T, acquire func(context.Context) (*lock.Held, error)) *lock.Held {
	t.Helper()
	held, err := acquire(harness.Context(t))
	require.NoError(t, err)
	return held
}

// granted waits until what was begun with later is held.
func granted(t *testing.T, result <-chan locked) *lock.Held {
	t.Helper()
	got := harness.Got(t, result)
	require.NoError(t, got.err)
	return got.held
}

func rwOf(t *testing.T, c *harness.Cluster, name string) *lock.RWMutex {
	return lock.NewRWMutex(c.Session(t), name)
}

func TestReadersHoldBesideEachOtherAndAWriterAlone(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		a, b := rwOf(t, c, name), rwOf(t, c, name)
		first, second, third := must(t, a.RLock), must(t, b.RLock), must(t, a.RLock)
		_, err := b.TryLock(harness.Context(t))
		require.ErrorIs(t, err, lock.ErrLocked)

		writing := later(harness.Context(t), b.Lock)
		c.AwaitKeys(t, a.Prefix(), 4)
		mustUnlock(t, third)
		mustUnlock(t, first)
		require.Empty(t, writing, "a reader is left")
		mustUnlock(t, second)
		writer := granted(t, writing)
		require.Greater(t, writer.Token(), third.Token())
		_, err = a.TryRLock(harness.Context(t))
		require.ErrorIs(t, err, lock.ErrLocked)
		_, err = a.TryLock(harness.Context(t))
		require.ErrorIs(t, err, lock.ErrLocked)
		mustUnlock(t, writer)
		require.Empty(t, c.Keys(t, a.Prefix()))
		mustUnlock(t, must(t, a.TryLock))
		mustUnlock(t, must(t, a.TryRLock))
	})
}

func TestAReaderBehindAWaitingWriterWaits(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		a, b := rwOf(t, c, name), rwOf(t, c, name)
		reader := must(t, a.RLock)
		writing := later(harness.Context(t), b.Lock)
		c.AwaitKeys(t, a.Prefix(), 2)
		reading := later(harness.Context(t), a.RLock)
		c.AwaitKeys(t, a.Prefix(), 3)
		_, err := a.TryRLock(harness.Context(t))
		require.ErrorIs(t, err, lock.ErrLocked, "a try would overtake the writer")

		mustUnlock(t, reader)
		writer := granted(t, writing)
		require.Empty(t, reading)
		mustUnlock(t, writer)
		late := granted(t, reading)
		require.Greater(t, late.Token(), writer.Token())
		mustUnlock(t, late)
	})
}

func TestAWriterThatGivesUpLetsTheReadersBehindItIn(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		a, b := rwOf(t, c, name), rwOf(t, c, name)
		reader := must(t, a.RLock)
		ctx, giveUp := context.WithCancel(harness.Context(t))
		writing := later(ctx, b.Lock)
		c.AwaitKeys(t, a.Prefix(), 2)
		reading := later(harness.Context(t), a.RLock)
		c.AwaitKeys(t, a.Prefix(), 3)
		giveUp()
		require.ErrorIs(t, harness.Got(t, writing).err, context.Canceled)
		mustUnlock(t, granted(t, reading))
		mustUnlock(t, reader)
		c.AwaitKeys(t, a.Prefix(), 0)
	})
}

func TestADowngradeLetsReadersInAndNoWriterInBetween(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		a, b := rwOf(t, c, name), rwOf(t, c, name)
		writer := must(t, a.Lock)
		stale := writer.Guard()
		reading := later(harness.Context(t), b.RLock)
		c.AwaitKeys(t, a.Prefix(), 2)
		writing := later(harness.Context(t), b.Lock)
		c.AwaitKeys(t, a.Prefix(), 3)

		reader, err := a.Downgrade(harness.Context(t), writer)
		require.NoError(t, err)
		require.False(t, writer.Valid())
		require.ErrorIs(t, context.Cause(writer.Context()), lock.ErrUnlocked)
		require.True(t, reader.Valid())
		require.Greater(t, reader.Token(), writer.Token())
		require.False(t, commits(t, c, stale), "a write under way must not happen under the readers' feet")
		require.True(t, commits(t, c, reader.Guard()))

		other := granted(t, reading)
		require.Empty(t, writing, "two readers are there")
		mustUnlock(t, reader)
		mustUnlock(t, other)
		mustUnlock(t, granted(t, writing))
		require.Empty(t, c.Keys(t, a.Prefix()))
	})
}

// commits tells whether a transaction with these comparisons does. It writes,
// because one that does not is answered by a member that may be behind.
func commits(t *testing.T, c *harness.Cluster, guard []clientv3.Cmp) bool {
	t.Helper()
	resp, err := c.Client().Txn(harness.Context(t)).If(guard...).Then(clientv3.OpPut("committed", "")).Commit()
	require.NoError(t, err)
	return resp.Succeeded
}

func TestATryToReadPassesAWriterThatReadsByNow(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		a, b := rwOf(t, c, name), rwOf(t, c, name)
		reader, err := a.Downgrade(harness.Context(t), must(t, a.Lock))
		require.NoError(t, err)
		mustUnlock(t, must(t, b.TryRLock))
		mustUnlock(t, must(t, b.RLock))
		_, err = b.TryLock(harness.Context(t))
		require.ErrorIs(t, err, lock.ErrLocked)
		mustUnlock(t, reader)
	})
}

func TestADowngradeWhoseAnswerWasLostIsDoneOnce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		a := lock.NewRWMutex(c.SessionOn(t, client), harness.Name(t))
		writer := must(t, a.Lock)
		faults.OnCall(once(func(req any) bool { return harness.Creates(req, a.Prefix()) }))
		reader, err := a.Downgrade(harness.Context(t), writer)
		require.NoError(t, err)
		require.True(t, commits(t, c, reader.Guard()))
		mustUnlock(t, reader)
		require.Empty(t, c.Keys(t, a.Prefix()))
	})
}

func TestADowngradeThatCannotBeToldHoldsNothing(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		a := lock.NewRWMutex(c.SessionOn(t, client), harness.Name(t))
		writer := must(t, a.Lock)
		ctx, giveUp := context.WithCancel(harness.Context(t))
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, a.Prefix()) {
				giveUp()
				return harness.ErrDown
			}
			return call()
		})
		_, err := a.Downgrade(ctx, writer)
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, writer.Valid())
		c.AwaitKeys(t, a.Prefix(), 0)
	})
}

func TestOnlyAWriteHandleOfTheLockCanBeDowngraded(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s, name := c.Session(t), harness.Name(t)
		a, other := lock.NewRWMutex(s, name), lock.NewRWMutex(s, name+"-2")
		reader, foreign := must(t, a.RLock), must(t, other.Lock)
		mutex := must(t, lock.NewMutex(s, name).Lock)
		for _, held := range []*lock.Held{reader, foreign, mutex} {
			_, err := a.Downgrade(harness.Context(t), held)
			require.ErrorIs(t, err, lock.ErrDowngrade)
			require.True(t, held.Valid(), "it is left as it was")
			mustUnlock(t, held)
		}
		writer := must(t, a.Lock)
		mustUnlock(t, writer)
		_, err := a.Downgrade(harness.Context(t), writer)
		require.ErrorIs(t, err, lock.ErrUnlocked)
	})
}

func TestAnUpgradeIsRefusedAndNoDeadlock(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		a := rwOf(t, c, harness.Name(t))
		reader := must(t, a.RLock)
		_, err := a.Lock(reader.Context())
		require.ErrorIs(t, err, lock.ErrUpgrade)
		require.ErrorIs(t, err, lock.ErrDeadlock)
		_, err = a.RLock(reader.Context())
		require.ErrorIs(t, err, lock.ErrDeadlock, "a writer may wait in between")
		require.False(t, errors.Is(err, lock.ErrUpgrade))
		mustUnlock(t, reader)

		writer := must(t, a.Lock)
		_, err = a.RLock(writer.Context())
		require.ErrorIs(t, err, lock.ErrDeadlock)
		reader, err = a.Downgrade(harness.Context(t), writer)
		require.NoError(t, err)
		_, err = a.Lock(reader.Context())
		require.ErrorIs(t, err, lock.ErrUpgrade)
		mustUnlock(t, reader)
	})
}

func TestTheQueueOfAReaderWriterLockSaysWhoDoesWhat(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		a := rwOf(t, c, harness.Name(t))
		entries, err := a.Queue(harness.Context(t))
		require.NoError(t, err)
		require.Empty(t, entries)

		first, second := must(t, a.RLock), must(t, a.RLock)
		ctx, giveUp := context.WithCancel(harness.Context(t))
		writing := later(ctx, a.Lock)
		c.AwaitKeys(t, a.Prefix(), 3)
		reading := later(ctx, a.RLock)
		c.AwaitKeys(t, a.Prefix(), 4)
		entries, err = a.Queue(harness.Context(t))
		require.NoError(t, err)
		var holds, write []bool
		for _, e := range entries {
			holds, write = append(holds, e.Holds), append(write, e.Write)
			require.NotEmpty(t, e.Owner.Session)
		}
		require.Equal(t, []bool{true, true, false, false}, holds)
		require.Equal(t, []bool{false, false, true, false}, write)
		giveUp()
		harness.Got(t, writing)
		harness.Got(t, reading)
		mustUnlock(t, first)
		mustUnlock(t, second)
	})
}

func TestAHandoffToReadersWakesEachOnceAndNobodyElse(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first := rwOf(t, c, name)
		writer := must(t, first.Lock)
		const readers = 8
		var events, reads atomic.Int64
		results := make([]<-chan locked, readers)
		for i := range readers {
			results[i] = later(harness.Context(t), counted(t, c, name, &events, &reads).RLock)
			c.AwaitKeys(t, first.Prefix(), i+2)
		}
		behind := counted(t, c, name, &events, new(atomic.Int64)) // it looks who is ahead
		writing := later(harness.Context(t), behind.Lock)
		c.AwaitKeys(t, first.Prefix(), readers+2)
		events.Store(0)
		reads.Store(0)
		mustUnlock(t, writer)
		held := make([]*lock.Held, readers)
		for i, result := range results {
			held[i] = granted(t, result)
		}
		require.LessOrEqual(t, events.Load(), int64(readers), "one event for each reader, none for the writer")
		require.Zero(t, reads.Load(), "who is ahead was known")
		for _, h := range held {
			mustUnlock(t, h)
		}
		mustUnlock(t, granted(t, writing))
	})
}

// counted is a reader-writer lock whose client counts the watch events below
// the lock's prefix that reach it, and its transactions that only read.
func counted(t *testing.T, c *harness.Cluster, name string, events, reads *atomic.Int64) *lock.RWMutex {
	client, faults := c.Dial(t)
	mu := lock.NewRWMutex(c.SessionOn(t, client), name)
	faults.OnReceive(func(msg any) {
		if resp, ok := msg.(*pb.WatchResponse); ok {
			for _, ev := range resp.Events {
				if strings.HasPrefix(string(ev.Kv.Key), mu.Prefix()) {
					events.Add(1)
				}
			}
		}
	})
	faults.OnCall(func(req any, call func() error) error {
		if txn, ok := req.(*pb.TxnRequest); ok && len(txn.Success) > 0 && txn.Success[0].GetRequestRange() != nil {
			reads.Add(1)
		}
		return call()
	})
	return mu
}
