package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/integration/history"
	"github.com/gotenure/tenure/integration/world"
)

// twins is a configuration whose halves must agree. Each update has a mark of
// its own and says which mark it was computed from.
type twins struct {
	N, Twin   int
	Mark, Saw string
	Extra     map[string]int
}

func (d *twins) Validate() error {
	if d.N != d.Twin {
		return errors.New("n and twin differ")
	}
	return nil
}

// Processes read and update one configuration while their links break and
// etcd crashes and compacts, and an operator writes good and bad content past
// them.
func TestConfigHoldsUnderFaults(t *testing.T) {
	from := *first
	if from == 0 {
		from = rand.Uint64() >> 16
	}
	looks, updates := 0, 0
	for seed := from; seed < from+*seeds; seed++ {
		nodes := []string{"a", "b", "c"}
		plan := world.Plan(seed, length, nodes, world.DefaultRates())
		c := simulateConfig(t, plan, nodes)
		if violations := c.check(); len(violations) > 0 {
			t.Fatalf("%s\n%s", plan, history.Report(violations[:min(len(violations), 5)]))
		}
		looks += len(c.looks)
		updates += len(c.updates)
	}
	t.Logf("%d schedules of %v from seed %d: %d values seen, %d updates", *seeds, length, from, looks, updates)
	require.Greater(t, looks, int(*seeds)*50, "a quiet run proves nothing")
	require.Greater(t, updates, int(*seeds)*30)
}

// configRun is what happened to one configuration.
type configRun struct {
	perField bool
	end      time.Duration
	changes  []history.Change
	gaps     []string
	final    int64 // the revision of the last write, in the calm

	mu      sync.Mutex
	looks   []look
	updates []update
	last    map[string]look // of each process that lives at the end
}

// A look is a value that a process has seen.
type look struct {
	at       time.Duration
	process  string
	revision int64
	source   config.Source
	value    twins
}

// An update is one call, and the marks of its attempts.
type update struct {
	at       time.Duration
	process  string
	marks    []string
	revision int64
	err      error
}

func simulateConfig(t *testing.T, plan world.Schedule, nodes []string) *configRun {
	t.Helper()
	run := &configRun{perField: plan.Seed%2 == 0, last: make(map[string]look)}
	dir, err := os.MkdirTemp("/dev/shm", "tenure-sim-")
	if err != nil {
		dir = t.TempDir()
	}
	defer os.RemoveAll(dir)
	world.Run(t, world.Config{Seed: plan.Seed}, func(t *testing.T, w *world.World) {
		rec := history.NewRecorder(w.Now)
		observer, err := history.Observe(w.Context(), w.Direct(), rec, history.Under("/tenure/config/"))
		require.NoError(t, err)
		defer observer.Close()
		w.KeepUp(observer.WaitFor)
		ctx, stop := context.WithCancel(w.Context())
		writing, stopWriting := context.WithCancel(ctx)
		for _, name := range nodes {
			w.Go(func() {
				for life := 0; ctx.Err() == nil; life++ {
					p := configProcess{run: run, w: w, name: fmt.Sprintf("%s-%d", name, life), fallback: filepath.Join(dir, name)}
					p.rnd = w.RandFor("config-" + p.name)
					p.live(ctx, writing, w.Dial(name))
				}
			})
		}
		w.Go(func() { operate(writing, w, run) })
		require.NoError(t, w.Play(ctx, plan))
		stopWriting()
		pause(ctx, calm/2)
		run.final = run.finish(t, w)
		pause(ctx, calm/2)
		run.end = w.Now()
		run.mu.Lock()
		lasting := maps.Clone(run.last)
		run.mu.Unlock()
		stop()
		h := rec.History()
		run.changes, run.gaps = h.Changes, h.Gaps
		run.mu.Lock()
		run.last = lasting
		run.mu.Unlock()
	})
	return run
}

const live = "/tenure/config/twins/live/"

// operate writes like somebody with etcdctl, good and bad.
func operate(ctx context.Context, w *world.World, run *configRun) {
	rnd := w.RandFor("operator")
	for n := 0; ctx.Err() == nil; n++ {
		pause(ctx, upTo(rnd, 20*time.Second))
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		mark := fmt.Sprintf("operator-%d", n)
		key, value := live+"doc", fmt.Sprintf(`{"n": %d, "twin": %d, "mark": %q}`, n, n, mark)
		switch bad := rnd.IntN(4); {
		case run.perField && bad == 0:
			key, value = live+"keys/twin", "-1"
		case run.perField && bad == 1:
			key, value = live+"keys/n", "many"
		case run.perField:
			_, _ = w.Direct().Txn(attempt).Then(
				clientv3.OpPut(live+"keys/n", fmt.Sprint(n)), clientv3.OpPut(live+"keys/twin", fmt.Sprint(n)),
				clientv3.OpPut(live+"keys/mark", mark), clientv3.OpDelete(live+"keys/extra/", clientv3.WithPrefix())).Commit()
			cancel()
			continue
		case bad == 0:
			value = fmt.Sprintf(`{"n": %d, "twin": -1, "mark": %q}`, n, mark)
		case bad == 1:
			value = `{"n": `
		}
		_, _ = w.Direct().Put(attempt, key, value) // it may be down
		cancel()
	}
}

// finish makes a last good write when the faults have stopped.
func (c *configRun) finish(t *testing.T, w *world.World) int64 {
	ctx, cancel := context.WithTimeout(w.Context(), calm/2)
	defer cancel()
	if !c.perField {
		put, err := w.Direct().Put(ctx, live+"doc", `{"n": 7, "twin": 7, "mark": "operator-final"}`)
		require.NoError(t, err)
		return put.Header.Revision
	}
	type lenient struct { // takes the operator's bad content too
		N, Twin, Mark, Saw string
		Extra              map[string]string
	}
	v, err := config.Watch[lenient](ctx, w.Direct(), "twins", config.PerField())
	require.NoError(t, err)
	rev, err := v.Put(ctx, lenient{N: "7", Twin: "7", Mark: "operator-final"})
	require.NoError(t, err)
	require.NoError(t, v.Close(ctx))
	return rev
}

// A configProcess is one life of a node.
type configProcess struct {
	run      *configRun
	w        *world.World
	rnd      *rand.Rand
	name     string
	fallback string
}

func (p configProcess) live(ctx, writing context.Context, node *world.Node) {
	defer node.Close()
	life, die := context.WithTimeout(ctx, upTo(p.rnd, 2*length))
	defer die()
	start, cancel := context.WithTimeout(life, 20*time.Second)
	defer cancel()
	opts := []config.Option{config.WithFallback(p.fallback, upTo(p.rnd, 10*time.Second)), config.WithHistory(8)}
	if p.run.perField {
		opts = append(opts, config.PerField())
	}
	v, err := config.Watch[twins](start, node.Client(), "twins", opts...)
	if err != nil {
		pause(ctx, upTo(p.rnd, time.Second))
		return
	}
	var group sync.WaitGroup
	group.Go(func() {
		for s := range v.Snapshots(life) {
			p.look(s)
		}
	})
	for writing.Err() == nil && life.Err() == nil {
		pause(life, upTo(p.rnd, 10*time.Second))
		p.update(writing, v)
	}
	<-life.Done()
	group.Wait()
	p.run.mu.Lock()
	delete(p.run.last, p.name)
	p.run.mu.Unlock()
	closing, cancelClose := context.WithTimeout(context.Background(), time.Minute)
	defer cancelClose()
	_ = v.Close(closing) // the test ends in a panic if something is left
}

func (p configProcess) look(s config.Snapshot[twins]) {
	l := look{at: p.w.Now(), process: p.name, revision: s.Revision, source: s.Source, value: *s.Value}
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	p.run.looks = append(p.run.looks, l)
	p.run.last[p.name] = l
}

func (p configProcess) update(ctx context.Context, v *config.Value[twins]) {
	u := update{at: p.w.Now(), process: p.name}
	attempt, cancel := context.WithTimeout(ctx, upTo(p.rnd, 15*time.Second))
	defer cancel()
	u.revision, u.err = v.Update(attempt, func(d *twins) error {
		mark := fmt.Sprintf("%s-%d-%d", p.name, u.at, len(u.marks))
		u.marks = append(u.marks, mark)
		if p.rnd.IntN(2) == 0 {
			pause(attempt, upTo(p.rnd, 4*time.Second)) // for a fault to begin between reading and writing
		}
		d.N++
		d.Twin, d.Saw, d.Mark = d.N, d.Mark, mark
		if d.Extra == nil || len(d.Extra) > 4 {
			d.Extra = map[string]int{}
		}
		d.Extra[fmt.Sprint(d.N%7)] = d.N
		delete(d.Extra, fmt.Sprint((d.N+3)%7))
		return nil
	})
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	p.run.updates = append(p.run.updates, u)
}
