package conformance

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/leaderworker"
	"github.com/gotenure/tenure/session"
)

func TestAClaimWhoseAnswerWasLostIsOwnedOnce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(5))
		client, faults := c.Dial(t)
		faults.OnCall(once(func(req any) bool { return ownerOps(req, w.prefix()) > 0 }))
		a := w.hireOn("a", c.SessionOn(t, client))
		w.shared(map[string]int{"a": 5})
		owners := w.owners()
		w.mu.Lock()
		require.Equal(t, w.tokens, owners)
		require.Equal(t, 5, w.starts)
		w.mu.Unlock()
		a.leave()
		require.Empty(t, w.owners())
	})
}

// The claim reaches etcd only after the worker has given it up as unknown, and
// even has left: it must not own anything.
func TestAClaimThatArrivesLateOwnsNothing(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(5))
		client, faults := c.Dial(t)
		var late atomic.Pointer[pb.TxnRequest]
		faults.OnCall(func(req any, call func() error) error {
			if ownerOps(req, w.prefix()) > 0 && late.CompareAndSwap(nil, requestOf(req)) {
				return harness.ErrDown
			}
			return call()
		})
		a := w.hireOn("a", c.SessionOn(t, client))
		w.shared(map[string]int{"a": 5})
		a.leave()
		require.False(t, w.arrives(late.Load()), "a claim that was given up committed")
		require.Empty(t, w.owners())
	})
}

func requestOf(req any) *pb.TxnRequest {
	txn, _ := req.(*pb.TxnRequest)
	return txn
}

func TestAReleaseWhoseAnswerWasLostIsRepeatedAndHitsNobodyElse(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(4))
		client, faults := c.Dial(t)
		a := w.hireOn("a", c.SessionOn(t, client))
		w.shared(map[string]int{"a": 4})
		var repeated atomic.Pointer[pb.TxnRequest]
		lose := once(func(req any) bool { return ownerOps(req, w.prefix()) < 0 })
		faults.OnCall(func(req any, call func() error) error {
			if ownerOps(req, w.prefix()) < 0 {
				repeated.CompareAndSwap(nil, requestOf(req))
			}
			return lose(req, call)
		})
		w.hire("b")
		w.shared(map[string]int{"a": 2, "b": 2})
		before := w.owners()
		require.Len(t, before, 4, "nor does the repetition")
		w.arrives(repeated.Load())
		require.Equal(t, before, w.owners(), "a release that arrives late deletes nobody else's key")
		a.leave()
		w.shared(map[string]int{"b": 4})
	})
}

func TestAnAssignmentWhoseAnswerWasLostIsNotMixedUp(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(12))
		client, faults := c.Dial(t)
		lost := 0
		var mu sync.Mutex
		faults.OnCall(func(req any, call func() error) error {
			if !harness.Creates(req, w.prefix()+"assigned/") {
				return call()
			}
			mu.Lock()
			defer mu.Unlock()
			err := call()
			if lost++; lost%2 == 1 {
				return harness.ErrDown
			}
			return err
		})
		w.hireOn("a", c.SessionOn(t, client))
		w.shared(map[string]int{"a": 12})
		w.hire("b")
		w.shared(map[string]int{"a": 6, "b": 6})
		w.hire("c")
		w.shared(map[string]int{"a": 4, "b": 4, "c": 4})
	})
}

// A leader that was deposed sends its last assignment before the next leader has
// written anything: only its term can tell.
func TestAnAssignmentOfADeposedLeaderIsRefused(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(12))
		aClient, aFaults := c.Dial(t)
		w.hireOn("a", c.SessionOn(t, aClient))
		w.shared(map[string]int{"a": 12})
		held, holding := make(chan *pb.TxnRequest, 100), make(chan struct{})
		letGo := sync.OnceFunc(func() { close(holding) })
		hold := func(req any, call func() error) error {
			if harness.Creates(req, w.prefix()+"assigned/b") {
				held <- requestOf(req)
				<-holding // and nothing is sent
				return harness.ErrDown
			}
			return call()
		}
		aFaults.OnCall(hold)
		bClient, bFaults := c.Dial(t)
		bFaults.OnCall(hold)
		w.hireOn("b", c.SessionOn(t, bClient))
		t.Cleanup(letGo)
		late := harness.Got(t, held)
		resp, err := c.Client().Get(harness.Context(t), w.prefix()+"leader/", clientv3.WithFirstCreate()...)
		require.NoError(t, err)
		_, err = c.Client().Delete(harness.Context(t), string(resp.Kvs[0].Key))
		require.NoError(t, err)
		harness.Got(t, held) // the next leader is about to write
		require.False(t, w.arrives(late))
		aFaults.Mend()
		bFaults.Mend()
		letGo()
		w.shared(map[string]int{"a": 6, "b": 6})
	})
}

// The same leader has written another assignment meanwhile: what arrives late
// must not replace it.
func TestAnAssignmentThatArrivesLateReplacesNothing(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(12))
		client, faults := c.Dial(t)
		w.hireOn("a", c.SessionOn(t, client))
		w.shared(map[string]int{"a": 12})
		var late atomic.Pointer[pb.TxnRequest]
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, w.prefix()+"assigned/b") && late.CompareAndSwap(nil, requestOf(req)) {
				return harness.ErrDown
			}
			return call()
		})
		w.hire("b")
		w.shared(map[string]int{"a": 6, "b": 6})
		require.False(t, w.arrives(late.Load()))
		require.Equal(t, map[string]int{"a": 6, "b": 6}, w.counts())
	})
}

// arrives lets a request reach etcd that was held back, and tells whether it did
// anything.
func (w *crew) arrives(late *pb.TxnRequest) bool {
	w.t.Helper()
	answer, err := pb.NewKVClient(w.c.Client().ActiveConnection()).Txn(harness.Context(w.t), late)
	require.NoError(w.t, err)
	return answer.Succeeded
}

// The first attempt to join is applied after the worker has left.
func TestAJoiningThatArrivesLateLeavesNoMember(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(2))
		client, faults := c.Dial(t)
		var late atomic.Pointer[pb.TxnRequest]
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, w.prefix()+"members/") && late.CompareAndSwap(nil, requestOf(req)) {
				return harness.ErrDown
			}
			return call()
		})
		a := w.hireOn("a", c.SessionOn(t, client))
		w.shared(map[string]int{"a": 2})
		a.leave()
		require.False(t, w.arrives(late.Load()))
		require.Empty(t, c.Keys(t, w.prefix()+"members/"))
	})
}

func TestAWorkerThatCannotReachEtcdStopsInTime(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(4))
		client, faults := c.Dial(t)
		causes := make(chan error, 4)
		s := c.SessionOn(t, client, session.WithTTL(session.MinTTL))
		w.hireOn("a", s, func(c *leaderworker.Config) {
			work := c.Work
			c.Work = func(ctx context.Context, sh leaderworker.Shard) error {
				defer func() { causes <- context.Cause(ctx) }()
				return work(ctx, sh)
			}
		})
		w.shared(map[string]int{"a": 4})
		faults.Cut()
		faults.Break()
		w.hire("b") // takes over when the lease has run out: work notes an overlap
		for range 4 {
			require.ErrorIs(t, harness.Got(t, causes), session.ErrLost)
		}
		w.shared(map[string]int{"b": 4})
		faults.Mend()
		w.shared(map[string]int{"a": 2, "b": 2})
	})
}
