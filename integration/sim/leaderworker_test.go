package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/history"
	"github.com/gotenure/tenure/integration/world"
	"github.com/gotenure/tenure/leaderworker"
	"github.com/gotenure/tenure/session"
)

const (
	poolName   = "ingest"
	poolPrefix = "/tenure/pools/" + poolName + "/"
	poolShards = 6
)

// poolRules are the words of a history of locks in those of a pool: each shard
// is a name that its owner key locks.
var poolRules = map[string]string{"M1": "L1", "M2": "L2"}

func TestShardsHoldUnderFaults(t *testing.T) {
	from := *first
	if from == 0 {
		from = rand.Uint64() >> 16
	}
	seeds := *seeds/5 + 1
	times := 0
	for seed := from; seed < from+seeds; seed++ {
		nodes := []string{"a", "b", "c", "d"}
		plan := world.Plan(seed, length, nodes, world.DefaultRates())
		h, wrong := simulatePool(t, plan, nodes)
		violations := append(wrong, history.Check(h, bounds)...)
		for i, v := range violations {
			if rule, ok := poolRules[v.Rule]; ok {
				violations[i].Rule = rule
			}
		}
		if len(violations) > 0 {
			t.Fatalf("%s\n%s\n%s", plan, history.Report(violations), around(h, violations[0].At))
		}
		times += h.Count(history.Acquired)
	}
	t.Logf("%d schedules of %v from seed %d: %d times a shard was owned", seeds, length, from, times)
	require.Greater(t, times, int(seeds)*poolShards*3, "a quiet run proves nothing")
}

// simulatePool plays a schedule against the workers of a pool, and returns the
// history, and what was wrong at the end of the calm.
func simulatePool(t *testing.T, plan world.Schedule, nodes []string) (h history.History, wrong []history.Violation) {
	t.Helper()
	world.Run(t, world.Config{Seed: plan.Seed}, func(t *testing.T, w *world.World) {
		rec := history.NewRecorder(w.Now)
		observer, err := history.Observe(w.Context(), w.Direct(), rec, shardOf)
		require.NoError(t, err)
		defer observer.Close()
		w.KeepUp(observer.WaitFor)
		w.OnLink(rec.Link)
		ctx, stop := context.WithCancel(w.Context())
		for _, name := range nodes {
			w.Go(func() {
				for life := 0; ctx.Err() == nil; life++ {
					newHand(w, rec, name, life).run(ctx)
				}
			})
		}
		require.NoError(t, w.Play(ctx, plan))
		pause(ctx, calm)
		wrong = judgePool(ctx, w, len(nodes))
		h = rec.History() // before the end, which closes everything at once
		stop()
	})
	return h, wrong
}

// shardOf is the shard of an owner key.
func shardOf(key string) string {
	if shard, ok := strings.CutPrefix(key, poolPrefix+"owners/"); ok {
		return shard
	}
	return ""
}

// judgePool looks whether every shard has come to a live worker, the loads are
// even, and a change of the leader moves nothing.
func judgePool(ctx context.Context, w *world.World, workers int) (wrong []history.Violation) {
	complain := func(rule, format string, args ...any) {
		wrong = append(wrong, history.Violation{Rule: rule, Name: poolName, At: w.Now(), Text: fmt.Sprintf(format, args...)})
	}
	before, err := leaderworker.Status(ctx, w.Direct(), "", poolName)
	if err != nil {
		complain("L3", "%v", err)
		return wrong
	}
	owners := map[string]int64{}
	counts := map[string]int{}
	for _, s := range before.Shards {
		owners[s.Name] = s.Token
		counts[s.Owner]++
	}
	members := map[string]bool{}
	for _, worker := range before.Workers {
		members[worker.Name] = !worker.Gone && !worker.Leaving
	}
	switch {
	case len(before.Shards) != poolShards || len(before.Moves) > 0 || before.Leader == "":
		complain("L3", "%d shards, moves %+v, leader %q", len(before.Shards), before.Moves, before.Leader)
	case len(members) != workers || slices.Contains(slices.Collect(maps.Values(members)), false):
		complain("L3", "workers %+v", before.Workers)
	}
	for worker := range members {
		if n := counts[worker]; n != poolShards/workers && n != (poolShards+workers-1)/workers {
			complain("L3", "%s owns %d shards: %+v", worker, n, before.Shards)
		}
	}
	resp, err := w.Direct().Get(ctx, poolPrefix+"leader/", clientv3.WithFirstCreate()...)
	if err == nil && len(resp.Kvs) == 1 {
		_, err = w.Direct().Delete(ctx, string(resp.Kvs[0].Key))
	}
	if err != nil {
		complain("L4", "%v", err)
	}
	pause(ctx, 10*time.Second)
	after, err := leaderworker.Status(ctx, w.Direct(), "", poolName)
	if err != nil || after.Leader == before.Leader {
		complain("L4", "the leader was not replaced: %q (%v)", after.Leader, err)
	}
	for _, s := range after.Shards {
		if s.Token != owners[s.Name] {
			complain("L4", "shard %s was moved by a change of the leader", s.Name)
		}
	}
	return wrong
}

// A simHand is one life of a worker.
type simHand struct {
	*process
	mu      sync.Mutex
	beliefs map[owned]*history.Belief
}

// owned is an ownership: shards that were claimed together have one token.
type owned struct {
	token int64
	shard string
}

func newHand(w *world.World, rec *history.Recorder, name string, life int) *simHand {
	return &simHand{
		process: newProcess(w, rec, name, life, 1, nil),
		beliefs: map[owned]*history.Belief{},
	}
}

// run lives until ctx ends, or until the process leaves or is killed, which it
// does now and then, but not in the calm.
func (p *simHand) run(ctx context.Context) {
	defer p.node.Close()
	create, cancel := context.WithTimeout(p.ctx, 20*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	s, err := session.New(create, p.node.Client(),
		session.WithTTL(time.Duration(1+p.rnd.IntN(5))*time.Second),
		session.WithName(p.name),
		session.WithObserver(session.Observer{Granted: func(g session.Grant) { p.rec.Session(p.name, int64(g.Lease)) }}))
	if err != nil {
		pause(ctx, time.Second)
		return
	}
	life, leave := context.WithCancel(ctx)
	defer leave()
	cfg := leaderworker.Config{
		Session: s, Name: poolName, Shards: leaderworker.Numbered(poolShards), Work: p.work,
		Drain: time.Second, Grace: time.Duration(p.rnd.IntN(3)-1) * time.Second, MaxMoves: 1 + p.rnd.IntN(4),
		Observer: leaderworker.Observer{Released: p.released},
	}
	if p.rnd.IntN(2) == 0 {
		cfg.Worker = p.name // comes back under its name
	}
	until := p.upTo(2 * length)
	ended := make(chan error, 1)
	go func() { ended <- leaderworker.Run(life, cfg) }()
	if p.w.Now()+until < length {
		pause(ctx, until)
	} else {
		<-ctx.Done()
	}
	if p.draw(2) == 0 {
		p.node.Kill() // with whatever it owns
	}
	leave()
	<-ended
	_ = s.Close(context.Background())
}

// work believes from its beginning until it returns because it was told to, or
// until it is told that the shard was lost. It takes its time to return, and
// fails now and then.
func (p *simHand) work(ctx context.Context, sh leaderworker.Shard) error {
	belief := p.believe(sh)
	p.write(belief, sh)
	if p.draw(3) == 0 {
		pause(ctx, time.Duration(p.draw(5))*time.Second)
	} else {
		<-ctx.Done()
	}
	if ctx.Err() == nil {
		return errors.New("a step of the work failed")
	}
	pause(sh.Context(), time.Duration(p.draw(3000))*time.Millisecond)
	p.write(belief, sh)
	if !sh.Valid() {
		belief.Lost(leaderworker.ErrLost)
	}
	belief.Releasing()
	return nil
}

// believe returns the belief of an ownership: Work that failed is called again
// under the same one.
func (p *simHand) believe(sh leaderworker.Shard) *history.Belief {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := owned{sh.Token(), sh.Name()}
	if b := p.beliefs[key]; b != nil {
		return b
	}
	b := p.rec.Ask(p.name, sh.Name()).Acquired(sh.Token(), sh.Token())
	p.beliefs[key] = b
	// Also if the shard is released between two calls.
	context.AfterFunc(sh.Context(), func() { b.Lost(context.Cause(sh.Context())) })
	return b
}

// draw is for works, of which there are many at once.
func (p *simHand) draw(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rnd.IntN(n)
}

func (p *simHand) released(r leaderworker.Released) {
	key := owned{r.Shard.Token(), r.Shard.Name()}
	p.mu.Lock()
	b := p.beliefs[key]
	delete(p.beliefs, key)
	p.mu.Unlock()
	if b != nil { // else it was lost before Work was called
		b.Released(r.Err)
	}
}

// write is a guarded write, also by an owner that is no longer one.
func (p *simHand) write(belief *history.Belief, sh leaderworker.Shard) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	w := belief.Write()
	answer, err := p.node.Client().Txn(ctx).If(sh.Guard()...).Then(clientv3.OpPut("data/"+sh.Name(), w.Mark())).Commit()
	switch {
	case err != nil:
		w.Unknown(err)
	case answer.Succeeded:
		w.Committed(answer.Header.Revision)
	default:
		w.Refused()
	}
}
