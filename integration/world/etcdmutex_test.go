package world_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/gotenure/tenure/integration/history"
	"github.com/gotenure/tenure/integration/world"
)

// etcd's own mutex, taken as its users take it: a client believes from the
// return of Lock until it calls Unlock or the session's Done is closed.

// etcdSession locks and unlocks on one session until that is lost.
func (u *user) etcdSession(ctx context.Context) {
	s, err := concurrency.NewSession(u.node.Client(), concurrency.WithTTL(2+u.rnd.IntN(4)), concurrency.WithContext(ctx))
	if err != nil || s == nil {
		pause(ctx, 100*time.Millisecond)
		return
	}
	defer func() { _ = s.Close() }()
	u.rec.Session(u.node.Name(), int64(s.Lease()))
	mu := concurrency.NewMutex(s, lockPrefix+lockName)
	for s.Ctx().Err() == nil {
		u.lockAsEtcdDoes(s, mu)
	}
}

func (u *user) lockAsEtcdDoes(s *concurrency.Session, mu *concurrency.Mutex) {
	ctx, cancel := context.WithTimeout(s.Ctx(), u.upTo(20*time.Second))
	defer cancel()
	attempt := u.rec.Ask(u.node.Name(), lockName)
	if err := mu.Lock(ctx); err != nil {
		attempt.Failed(err)
		pause(s.Ctx(), u.upTo(time.Second))
		return
	}
	owner := mu.IsOwner()
	created := owner.GetCompare().GetCreateRevision()
	belief := attempt.Acquired(created, created)
	stop := context.AfterFunc(s.Ctx(), func() { belief.Lost(context.Cause(s.Ctx())) })
	defer stop()
	u.write(s.Ctx(), belief, owner)
	pause(s.Ctx(), u.upTo(5*time.Second))
	u.write(s.Ctx(), belief, owner)

	belief.Releasing()
	uctx, ucancel := context.WithTimeout(s.Ctx(), 2*time.Second)
	defer ucancel()
	belief.Released(mu.Unlock(uctx))
}

// The harness has to find what is known to be wrong, or it finds nothing: a
// session of etcd's client is told of its end up to seconds after the server
// has given the lock to the next waiter. Two of three schedules show it, so all
// of these miss it about once in 10^14 runs.
func TestTheHarnessFindsTwoBelieversInEtcdsMutex(t *testing.T) {
	const budget = 30
	for seed := range uint64(budget) {
		s := world.Plan(seed, 4*time.Minute, threeNodes, world.DefaultRates())
		h := simulate(t, s, threeNodes, func(u *user, ctx context.Context) { u.etcdSession(ctx) })
		require.Empty(t, h.Gaps, s)
		require.Greater(t, h.Count(history.Acquired), 20, s)
		found := history.Exclusion(h)
		if len(found) == 0 {
			continue
		}
		require.NotEmpty(t, history.LeaseSafety(h), "two believe, so one of them believes too long")
		t.Logf("found with seed %d, %d faults and %d grants:\n%s",
			seed, len(s.Faults), h.Count(history.Acquired), history.Report(found))
		return
	}
	t.Fatalf("no two believers in %d schedules", budget)
}

// Without faults the same users see a lock without fault: what the checkers
// find is not of their own making.
func TestEtcdsMutexIsFineWhileNothingIsWrong(t *testing.T) {
	calm := world.Schedule{Length: 4 * time.Minute}
	h := simulate(t, calm, threeNodes, func(u *user, ctx context.Context) { u.etcdSession(ctx) })
	require.Greater(t, h.Count(history.Acquired), 20)
	require.Greater(t, h.Count(history.Committed), 40)
	violations := history.Check(h, history.Bounds{Grant: time.Second, Settle: time.Second})
	require.Empty(t, violations, history.Report(violations))
}
