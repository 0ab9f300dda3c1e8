package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/history"
	"github.com/gotenure/tenure/integration/world"
	"github.com/gotenure/tenure/internal/clock"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

var (
	seeds = flag.Uint64("sim.seeds", 15, "how many schedules to play")
	first = flag.Uint64("sim.first", 0, "the seed of the first one; 0 draws one")
)

const (
	length = 4 * time.Minute // of a schedule, in virtual time
	calm   = time.Minute     // after it, in which everything must recover
	drift  = 0.02            // by which clocks run fast or slow
)

// bounds count only while the client is connected, which seldom lasts before
// the calm: a waiter may have to find out that its connection is dead, and a
// key that is being removed may have to wait for its lease.
var bounds = history.Bounds{Grant: 20 * time.Second, Settle: 20 * time.Second}

func TestMutexHoldsUnderFaults(t *testing.T) { play(t, *seeds, 1) }

// The goroutines of a process queue behind one key, which passes from one to
// the other in whatever state the faults have left it.
func TestMutexHoldsUnderFaultsWithManyUsersPerProcess(t *testing.T) { play(t, *seeds/2+1, 4) }

// play plays schedules against processes with so many users each, and against
// operators that no fault reaches.
func play(t *testing.T, seeds uint64, users int, operators ...func(context.Context, *world.World)) {
	from := *first
	if from == 0 {
		from = rand.Uint64() >> 16
	}
	grants := 0
	for seed := from; seed < from+seeds; seed++ {
		nodes := []string{"a", "b", "c", "d"}
		plan := world.Plan(seed, length, nodes, world.DefaultRates())
		h, leftovers := simulate(t, plan, nodes, users, operators)
		if violations := append(leftovers, history.Check(h, bounds)...); len(violations) > 0 {
			t.Fatalf("%s\n%s\n%s", plan, history.Report(violations), around(h, violations[0].At))
		}
		grants += h.Count(history.Acquired)
	}
	t.Logf("%d schedules of %v from seed %d: %d grants", seeds, length, from, grants)
	require.Greater(t, grants, int(seeds)*20, "a quiet run proves nothing")
}

// simulate plays a schedule against users of the mutex and returns the history,
// and the keys that attempts before have left, as later ones found them.
func simulate(t *testing.T, plan world.Schedule, nodes []string, users int,
	operators []func(context.Context, *world.World)) (h history.History, leftovers []history.Violation) {
	t.Helper()
	var mu sync.Mutex
	leftover := func(name string, at time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		leftovers = append(leftovers, history.Violation{Rule: "M6", Name: name, At: at, Text: err.Error()})
	}
	world.Run(t, world.Config{Seed: plan.Seed}, func(t *testing.T, w *world.World) {
		rec := history.NewRecorder(w.Now)
		observer, err := history.Observe(w.Context(), w.Direct(), rec, history.Under("/tenure/locks/"))
		require.NoError(t, err)
		defer observer.Close()
		w.KeepUp(observer.WaitFor)
		w.OnLink(rec.Link)
		ctx, stop := context.WithCancel(w.Context())
		for _, name := range nodes {
			w.Go(func() {
				for life := 0; ctx.Err() == nil; life++ {
					newProcess(w, rec, name, life, users, leftover).run(ctx)
				}
			})
		}
		for _, operate := range operators {
			w.Go(func() { operate(ctx, w) })
		}
		require.NoError(t, w.Play(ctx, plan))
		pause(ctx, calm)
		h = rec.History() // before the end, which closes everything at once
		stop()
	})
	return h, leftovers
}

// A process is one life of a node: a client, a session, and users that lock.
type process struct {
	w    *world.World
	rec  *history.Recorder
	node *world.Node
	rnd  *rand.Rand
	name string
	ctx  context.Context // carries the clock

	life  int // counts the processes of the name
	users int

	leftover func(name string, at time.Duration, err error)
}

func newProcess(w *world.World, rec *history.Recorder, name string, life, users int,
	leftover func(string, time.Duration, error)) *process {
	p := &process{w: w, rec: rec, name: name, node: w.Dial(name), life: life, users: users, leftover: leftover}
	p.rnd = w.RandFor(fmt.Sprintf("%s-%d", name, life))
	born, rate := time.Now(), 1+drift*(2*p.rnd.Float64()-1)
	p.ctx = clock.NewContext(context.Background(), clock.Func(func() time.Duration {
		return time.Duration(float64(time.Since(born)) * rate)
	}))
	return p
}

// run lives until ctx ends, or until the process exits or is killed, which it
// does now and then.
func (p *process) run(ctx context.Context) {
	p.live(ctx, func(life context.Context, s *session.Session) {
		var opts []lock.Option
		if p.rnd.IntN(3) == 0 {
			opts = append(opts, lock.WithRetention(p.upTo(5*time.Second)))
		}
		if p.rnd.IntN(4) == 0 {
			opts = append(opts, lock.WithMaxHold(p.upTo(8*time.Second)))
		}
		mutex := lock.NewMutex(s, "orders", opts...)
		var group sync.WaitGroup
		for i := range p.users {
			u := &user{process: p, mutex: mutex, name: p.name}
			if p.users > 1 {
				u.name = fmt.Sprintf("%s/%d", p.name, i)
			}
			u.rnd = p.w.RandFor(fmt.Sprintf("%s-%d-%d", p.name, p.life, i))
			group.Go(func() {
				for life.Err() == nil {
					u.turn(life)
				}
			})
		}
		group.Wait()
	})
}

// live is one life with a session: it ends with ctx, or earlier, orderly or
// without a word. work returns when the life that it is given has ended.
func (p *process) live(ctx context.Context, work func(life context.Context, s *session.Session)) {
	defer p.node.Close()
	create, cancel := context.WithTimeout(p.ctx, 20*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	s, err := session.New(create, p.node.Client(),
		session.WithTTL(time.Duration(1+p.rnd.IntN(5))*time.Second),
		session.WithName(p.name),
		session.WithObserver(session.Observer{Granted: func(g session.Grant) {
			if p.users == 1 { // else a key is not one client's
				p.rec.Session(p.name, int64(g.Lease))
			}
		}}))
	if err != nil {
		pause(ctx, time.Second)
		return
	}
	life, die := context.WithTimeout(ctx, p.upTo(2*length))
	defer die()
	killed := p.rnd.IntN(2) == 0
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		work(life, s)
	}()
	<-life.Done()
	if killed {
		p.node.Kill() // with whatever it holds
	}
	closing, cancelClose := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancelClose()
	_ = s.Close(closing)
	<-worked
	_ = s.Close(context.Background())
}

// A user locks, works and unlocks.
type user struct {
	*process
	mutex *lock.Mutex
	name  string
	rnd   *rand.Rand
}

func (u *user) turn(ctx context.Context) {
	patience, cancel := context.WithTimeout(ctx, u.upTo(20*time.Second))
	defer cancel()
	attempt := u.rec.Ask(u.name, u.mutex.Name())
	acquire := u.mutex.Lock
	if u.rnd.IntN(4) == 0 {
		acquire = u.mutex.TryLock
	}
	held, err := acquire(patience)
	if errors.Is(err, lock.ErrShared) {
		// Nobody else uses the session's lease: the key is its own, of an
		// attempt that has failed.
		u.leftover(u.mutex.Name(), u.w.Now(), err)
	}
	if err != nil {
		attempt.Failed(err)
		pause(ctx, u.upTo(time.Second))
		return
	}
	// The key's create revision, as Token documents it. Held.Key would count as a
	// guard, after which the key is not handed on among the goroutines.
	belief := attempt.Acquired(held.Token(), held.Token()>>16)
	stop := context.AfterFunc(held.Context(), func() { belief.Lost(context.Cause(held.Context())) })
	defer stop()
	guarded := u.rnd.IntN(2) == 0
	if guarded {
		u.write(ctx, belief, held)
	}
	pause(held.Context(), u.upTo(5*time.Second))
	if guarded {
		u.write(ctx, belief, held)
	}
	if !held.Valid() {
		belief.Lost(lock.ErrLost)
	}
	belief.Releasing()
	unlock, cancelUnlock := context.WithTimeout(context.WithoutCancel(ctx), u.upTo(4*time.Second))
	defer cancelUnlock()
	belief.Released(held.Unlock(unlock))
}

// write is a guarded write, also by a holder that is no longer one.
func (u *user) write(ctx context.Context, belief *history.Belief, held *lock.Held) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	w := belief.Write()
	answer, err := u.node.Client().Txn(ctx).If(held.Guard()...).Then(clientv3.OpPut("data", w.Mark())).Commit()
	switch {
	case err != nil:
		w.Unknown(err)
	case answer.Succeeded:
		w.Committed(answer.Header.Revision)
	default:
		w.Refused()
	}
}

func (p *process) upTo(d time.Duration) time.Duration { return upTo(p.rnd, d) }

// upTo draws from the user's own generator, and not from the process's.
func (u *user) upTo(d time.Duration) time.Duration { return upTo(u.rnd, d) }

func upTo(rnd *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(1 + rnd.Int64N(int64(d)))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
