package world_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/gotenure/tenure/integration/history"
	"github.com/gotenure/tenure/integration/world"
)

// etcd's own mutex, taken as its users take it: a client believes from the
// return of Lock until it calls Unlock or the session's Done is closed.

const (
	lockPrefix = "locks/"
	lockName   = "orders"
	dataKey    = "data/orders"
)

// simulateEtcdMutex plays one schedule against etcd's mutex and returns what
// its clients believed.
func simulateEtcdMutex(t *testing.T, s world.Schedule, nodes []string) history.History {
	t.Helper()
	var h history.History
	world.Run(t, world.Config{Seed: s.Seed}, func(t *testing.T, w *world.World) {
		rec := history.NewRecorder(time.Now)
		observer, err := history.Observe(w.Context(), w.Direct(), rec, history.Under(lockPrefix))
		require.NoError(t, err)
		defer observer.Close()
		w.KeepUp(observer.WaitFor)
		w.OnLink(rec.Link)
		ctx, stop := context.WithCancel(w.Context())
		for _, name := range nodes {
			user := &etcdMutexUser{rec: rec, node: w.Dial(name), rnd: w.RandFor(name)}
			w.Go(func() {
				for ctx.Err() == nil {
					user.session(ctx)
				}
			})
		}
		require.NoError(t, w.Play(ctx, s))
		stop()
		h = rec.History()
	})
	return h
}

type etcdMutexUser struct {
	rec  *history.Recorder
	node *world.Node
	rnd  *rand.Rand
}

// session locks and unlocks on one session until that is lost.
func (u *etcdMutexUser) session(ctx context.Context) {
	s, err := concurrency.NewSession(u.node.Client(), concurrency.WithTTL(2+u.rnd.IntN(4)), concurrency.WithContext(ctx))
	if err != nil || s == nil {
		pause(ctx, 100*time.Millisecond)
		return
	}
	defer func() { _ = s.Close() }()
	u.rec.Session(u.node.Name(), int64(s.Lease()))
	mu := concurrency.NewMutex(s, lockPrefix+lockName)
	for s.Ctx().Err() == nil {
		u.lock(s, mu)
	}
}

func (u *etcdMutexUser) lock(s *concurrency.Session, mu *concurrency.Mutex) {
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

func (u *etcdMutexUser) write(ctx context.Context, b *history.Belief, guard clientv3.Cmp) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	w := b.Write()
	answer, err := u.node.Client().Txn(ctx).If(guard).Then(clientv3.OpPut(dataKey, w.Mark())).Commit()
	switch {
	case err != nil:
		w.Unknown(err)
	case answer.Succeeded:
		w.Committed(answer.Header.Revision)
	default:
		w.Refused()
	}
}

func (u *etcdMutexUser) upTo(d time.Duration) time.Duration {
	return time.Duration(u.rnd.Int64N(int64(d)))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func TestXEtcdMutex(t *testing.T) {
	nodes := []string{"a", "b", "c"}
	hits := 0
	for seed := range uint64(100) {
		s := world.Plan(seed, 4*time.Minute, nodes, world.DefaultRates())
		began := time.Now()
		h := simulateEtcdMutex(t, s, nodes)
		took := time.Since(began)
		vs := history.Check(h, history.Bounds{Grant: 30 * time.Second, Settle: 60 * time.Second})
		rules := map[string]int{}
		for _, v := range vs {
			rules[v.Rule]++
		}
		if rules["M1"] > 0 {
			hits++
		}
		t.Log(seed, took, time.Since(began)-took, len(h.Events), len(h.Changes), "acq", h.Count(history.Acquired), "faults", len(s.Faults), rules)
		if seed < 3 || rules["M2"]+rules["M3"]+rules["order"]+rules["blind"]+rules["M4"] > 0 {
			t.Log(history.Report(vs))
		}
	}
	t.Log(hits)
}
