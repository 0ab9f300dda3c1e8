package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/barrier"
	"github.com/gotenure/tenure/integration/history"
	"github.com/gotenure/tenure/integration/world"
	"github.com/gotenure/tenure/session"
)

const (
	barriers = "/tenure/barriers/"
	parties  = 3 // of four processes: one is too many, or takes the place of one that died
)

// Barriers of every kind, used by processes that are cut off, die and give up.
func TestBarriersHoldUnderFaults(t *testing.T) {
	from, seeds := *first, *seeds/8+1 // each takes longer than one of the mutex
	if from == 0 {
		from = rand.Uint64() >> 16
	}
	var total outcomes
	for seed := from; seed < from+seeds; seed++ {
		nodes := []string{"a", "b", "c", "d"}
		plan := world.Plan(seed, length, nodes, world.DefaultRates())
		d, h := simulateBarriers(t, plan, nodes)
		if violations := append(d.leftovers, checkBarriers(d.calls, h)...); len(violations) > 0 {
			t.Fatalf("%s\n%s\n%s", plan, history.Report(violations), d.around(h, violations[0].At))
		}
		total.add(d.calls)
	}
	t.Logf("%d schedules of %v from seed %d: %v", seeds, length, from, total)
	for what, enough := range map[string]int{"await": 10, "enter": 10, "leave": 5, "wait": 10, "latch": 10} {
		require.Greater(t, total[what+" passed"], int(seeds)*enough, "a quiet run proves nothing: %s", what)
	}
	for _, what := range []string{"await broken", "enter broken", "leave broken"} {
		require.Greater(t, total[what], int(seeds), "nobody was told of a death: %s", what)
	}
}

// outcomes counts what calls came to.
type outcomes map[string]int

func (o *outcomes) add(calls []call) {
	if *o == nil {
		*o = outcomes{}
	}
	for _, c := range calls {
		if c.passed {
			(*o)[c.what+" passed"]++
		}
		if c.broken != nil {
			(*o)[c.what+" broken"]++
		}
	}
}

// simulateBarriers plays a schedule and returns what was called and what the
// store did.
func simulateBarriers(t *testing.T, plan world.Schedule, nodes []string) (d *diary, h history.History) {
	t.Helper()
	world.Run(t, world.Config{Seed: plan.Seed}, func(t *testing.T, w *world.World) {
		d = &diary{now: w.Now}
		rec := history.NewRecorder(w.Now)
		observer, err := history.Observe(w.Context(), w.Direct(), rec, history.Under(barriers))
		require.NoError(t, err)
		defer observer.Close()
		w.KeepUp(observer.WaitFor)
		ctx, stop := context.WithCancel(w.Context())
		using, quit := context.WithCancel(ctx)
		for _, name := range nodes {
			w.Go(func() {
				for life := 0; ctx.Err() == nil; life++ {
					runParties(ctx, using, w, d, name, life)
				}
			})
		}
		require.NoError(t, w.Play(ctx, plan))
		d.calm = w.Now()
		pause(ctx, calm)
		// Everybody gives up, and the sessions live on: what is left then is left
		// behind.
		quit()
		pause(ctx, 20*time.Second)
		d.lookForLeftovers(t, w.Direct())
		h = rec.History()
		stop()
	})
	return d, h
}

// runParties is one life of a process that uses one barrier of each kind.
func runParties(ctx, using context.Context, w *world.World, d *diary, name string, life int) {
	p := newProcess(w, nil, name, life, 1, nil)
	defer p.node.Close()
	create, cancel := context.WithTimeout(p.ctx, 20*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	s, err := session.New(create, p.node.Client(), session.WithTTL(time.Duration(1+p.rnd.IntN(5))*time.Second),
		session.WithName(fmt.Sprintf("%s-%d", name, life)))
	if err != nil {
		pause(ctx, time.Second)
		return
	}
	alive, die := context.WithTimeout(ctx, p.upTo(2*length))
	defer die()
	if using.Err() != nil {
		alive = ctx // until the leftovers were counted
	}
	calls, end := context.WithCancel(alive)
	defer end()
	defer context.AfterFunc(using, end)()
	var group sync.WaitGroup
	for i, use := range []func(context.Context, *visitor){awaitAgain, enterAndLeave, holdOrWait, countDown} {
		v := &visitor{diary: d, session: s, name: s.Name(), rnd: w.RandFor(fmt.Sprintf("%s-%d-%d", name, life, i))}
		group.Go(func() {
			for calls.Err() == nil {
				use(calls, v)
				pause(calls, time.Millisecond+upTo(v.rnd, 6*time.Second))
			}
		})
	}
	<-calls.Done()
	if alive.Err() == nil {
		<-ctx.Done()
	}
	if p.rnd.IntN(2) == 0 {
		p.node.Kill()
	}
	closing, cancelClose := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancelClose()
	_ = s.Close(closing)
	group.Wait()
	_ = s.Close(context.Background())
}

// A visitor is a goroutine that goes to one kind of barrier.
type visitor struct {
	*diary
	session *session.Session
	name    string
	rnd     *rand.Rand
}

func (v *visitor) patience(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, upTo(v.rnd, d))
}

func awaitAgain(ctx context.Context, v *visitor) {
	ctx, cancel := v.patience(ctx, 40*time.Second)
	defer cancel()
	c := barrier.NewCyclic(v.session, "phases", parties, barrier.WithAction(func(ctx context.Context, generation int64) error {
		act := v.begin(v.name, "action")
		act.generation = generation
		pause(ctx, upTo(v.rnd, 300*time.Millisecond))
		var err error
		if v.rnd.IntN(10) == 0 {
			err = errors.New("no luck")
		}
		v.end(act, err)
		return err
	}))
	call := v.begin(v.name, "await")
	generation, err := c.Await(ctx)
	call.generation = generation
	v.end(call, err)
	if v.rnd.IntN(40) == 0 {
		_ = c.Reset(ctx)
	}
}

func enterAndLeave(ctx context.Context, v *visitor) {
	patience, cancel := v.patience(ctx, 40*time.Second)
	defer cancel()
	call := v.begin(v.name, "enter")
	entry, err := barrier.NewDouble(v.session, "work", parties).Enter(patience)
	if err == nil {
		call.generation = entry.Generation()
	}
	v.end(call, err)
	if err != nil {
		return
	}
	pause(entry.Context(), time.Millisecond+upTo(v.rnd, 2*time.Second))
	patience, cancel = v.patience(ctx, 40*time.Second)
	defer cancel()
	leave := v.begin(v.name, "leave")
	leave.generation = call.generation
	v.end(leave, entry.Leave(patience))
}

func holdOrWait(ctx context.Context, v *visitor) {
	b := barrier.New(v.session, "closed")
	patience, cancel := v.patience(ctx, 20*time.Second)
	defer cancel()
	if v.rnd.IntN(3) > 0 {
		call := v.begin(v.name, "wait")
		v.end(call, b.Wait(patience))
		return
	}
	epoch, err := v.session.Epoch(patience)
	if err != nil {
		return
	}
	var opts []barrier.HoldOption
	if v.rnd.IntN(3) == 0 {
		opts = append(opts, barrier.Persistent())
	}
	held := v.begin(v.name, "hold")
	if err := b.Hold(patience, opts...); err != nil {
		v.end(held, err)
		if v.rnd.IntN(3) == 0 { // a hold that nobody else would end
			release := v.begin(v.name, "release")
			v.end(release, b.Release(patience))
		}
		return
	}
	v.end(held, nil)
	belief := v.begin(v.name, "held")
	stop := context.AfterFunc(epoch.Context(), func() {
		if len(opts) == 0 {
			v.end(belief, nil)
		}
	})
	pause(epoch.Context(), time.Millisecond+upTo(v.rnd, 4*time.Second))
	stop()
	if len(opts) == 0 && !epoch.Valid() {
		v.end(belief, nil)
	}
	release := v.begin(v.name, "release")
	v.end(belief, nil)
	again, cancelAgain := v.patience(ctx, 20*time.Second)
	defer cancelAgain()
	v.end(release, b.Release(again))
}

// countDown works on latches of which there is a new one every half minute.
func countDown(ctx context.Context, v *visitor) {
	ctx, cancel := v.patience(ctx, 40*time.Second)
	defer cancel()
	l := barrier.NewLatch(v.session, fmt.Sprintf("latch-%d", v.now()/(30*time.Second)))
	call := v.begin(v.name, "latch")
	call.latch = l.Name()
	err := l.Set(ctx, parties)
	for i := range 2 {
		if err == nil {
			err = l.CountDown(ctx, fmt.Sprintf("%s/%d", v.name[:1], i))
		}
	}
	if err == nil {
		err = l.Wait(ctx)
	}
	v.end(call, err)
}

// The last contribution is made, and whoever made it dies before it has opened
// the latch.
func TestALatchOpensThoughItsLastContributorDied(t *testing.T) {
	world.Run(t, world.Config{Seed: 1}, func(t *testing.T, w *world.World) {
		p := newProcess(w, nil, "a", 0, 1, nil)
		s, err := session.New(p.ctx, p.node.Client())
		require.NoError(t, err)
		l := barrier.NewLatch(s, "done")
		require.NoError(t, l.Set(p.ctx, 2))
		require.NoError(t, l.CountDown(p.ctx, "one"))
		opened := make(chan error, 1)
		w.Go(func() { opened <- l.Wait(w.Context()) })
		pause(w.Context(), time.Second)
		_, err = w.Direct().Put(w.Context(), barriers+"latch/done/by/two", "")
		require.NoError(t, err)
		pause(w.Context(), 10*time.Second)
		select {
		case err := <-opened:
			require.NoError(t, err)
		default:
			t.Error("the latch has all contributions and is closed")
		}
		require.NoError(t, s.Close(context.Background()))
	})
}
