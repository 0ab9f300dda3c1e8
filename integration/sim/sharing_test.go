package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/history"
	"github.com/gotenure/tenure/integration/world"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// What is shared in these simulations. A writer weighs as much as the capacity,
// a reader one.
var (
	readersAndWriters = history.Sharing{Overlap: "R1", Order: "R2", Capacity: 100, Weigh: func(put history.Change) int64 {
		if strings.Contains(put.Key, "/w/") && put.Created == put.Revision {
			return 100
		}
		return 1 // a reader, or a writer that has become one
	}}
	semaphores = history.Sharing{Overlap: "S1", Order: "S2", Capacity: 5, Weigh: func(put history.Change) int64 {
		_, rest, _ := strings.Cut(put.Key, "/q/")
		weight, _, _ := strings.Cut(rest, "/")
		n, err := strconv.ParseInt(weight, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	}}
)

// nameOf gives the lock that a key queues for: its kind, and its name.
func nameOf(key string) string {
	rest, ok := strings.CutPrefix(key, "/tenure/")
	parts := strings.SplitN(rest, "/", 3)
	if !ok || len(parts) < 3 || strings.HasPrefix(parts[2], "limit/") {
		return ""
	}
	switch parts[0] {
	case "locks", "rwlocks", "semaphores":
		return parts[0] + "/" + parts[1]
	}
	return ""
}

func ofKind(kind string) func(name string) bool {
	return func(name string) bool { return strings.HasPrefix(name, kind+"/") }
}

func TestReadersAndWritersUnderFaults(t *testing.T) {
	share(t, func(s *session.Session) actor { return rwActor{lock.NewRWMutex(s, "books")} },
		func(h history.History) []history.Violation { return readersAndWriters.Check(h, bounds) })
}

func TestPermitsUnderFaults(t *testing.T) {
	share(t, func(s *session.Session) actor { return permitsActor{lock.NewSemaphore(s, "slots", 5)} },
		func(h history.History) []history.Violation { return semaphores.Check(h, bounds) })
}

func TestSeveralAtOnceUnderFaults(t *testing.T) {
	share(t, func(s *session.Session) actor { return allActor{s} },
		func(h history.History) []history.Violation {
			out := history.Check(h.Only(ofKind("locks")), bounds)
			return append(out, readersAndWriters.Check(h.Only(ofKind("rwlocks")), bounds)...)
		})
}

// An actor acquires something in a way of its own choice, and records it.
type actor interface {
	// act returns once it holds nothing.
	act(ctx context.Context, u *sharer) error
}

// share plays schedules against processes with one actor each.
func share(t *testing.T, make func(*session.Session) actor, check func(history.History) []history.Violation) {
	from := *first
	if from == 0 {
		from = rand.Uint64() >> 16
	}
	grants, schedules := 0, *seeds/2+1
	for seed := from; seed < from+schedules; seed++ {
		nodes := []string{"a", "b", "c", "d", "e"}
		plan := world.Plan(seed, length, nodes, world.DefaultRates())
		var h history.History
		world.Run(t, world.Config{Seed: plan.Seed}, func(t *testing.T, w *world.World) {
			rec := history.NewRecorder(w.Now)
			observer, err := history.Observe(w.Context(), w.Direct(), rec, nameOf)
			require.NoError(t, err)
			defer observer.Close()
			w.KeepUp(observer.WaitFor)
			w.OnLink(rec.Link)
			ctx, stop := context.WithCancel(w.Context())
			for _, name := range nodes {
				w.Go(func() {
					for life := 0; ctx.Err() == nil; life++ {
						(&sharer{newProcess(w, rec, name, life, 1, nil)}).run(ctx, make)
					}
				})
			}
			require.NoError(t, w.Play(ctx, plan))
			pause(ctx, calm)
			h = rec.History() // before the end, which closes everything at once
			stop()
		})
		if violations := check(h); len(violations) > 0 {
			t.Fatalf("%s\n%s\n%s", plan, history.Report(violations), around(h, violations[0].At))
		}
		grants += h.Count(history.Acquired)
	}
	t.Logf("%d schedules of %v from seed %d: %d grants", schedules, length, from, grants)
	require.Greater(t, grants, int(schedules)*20, "a quiet run proves nothing")
}

// A sharer is a process with one actor.
type sharer struct{ *process }

func (u *sharer) run(ctx context.Context, make func(*session.Session) actor) {
	u.live(ctx, func(life context.Context, s *session.Session) {
		for a := make(s); life.Err() == nil; {
			if a.act(life, u) != nil {
				pause(life, u.upTo(time.Second))
			}
		}
	})
}

// use is what an actor does with something it has acquired.
func (u *sharer) use(ctx context.Context, attempt *history.Attempt, held *lock.Held) *history.Belief {
	belief := attempt.Acquired(held.Token(), held.Token()>>16)
	context.AfterFunc(held.Context(), func() { belief.Lost(context.Cause(held.Context())) })
	u.guarded(ctx, belief, held)
	pause(held.Context(), u.upTo(5*time.Second))
	u.guarded(ctx, belief, held)
	if !held.Valid() {
		belief.Lost(lock.ErrLost)
	}
	return belief
}

// guarded writes now and then, also when it holds no longer.
func (u *sharer) guarded(ctx context.Context, belief *history.Belief, held *lock.Held) {
	if u.rnd.IntN(2) == 0 {
		return
	}
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

func (u *sharer) unlock(ctx context.Context, belief *history.Belief, held *lock.Held) {
	u.unlockWithin(ctx, u.upTo(4*time.Second), belief, held)
}

func (u *sharer) unlockWithin(ctx context.Context, d time.Duration, belief *history.Belief, held *lock.Held) {
	belief.Releasing()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d)
	defer cancel()
	belief.Released(held.Unlock(ctx))
}

// patience is how long an actor waits.
func (u *sharer) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, u.upTo(20*time.Second))
}

type rwActor struct{ *lock.RWMutex }

func (a rwActor) act(ctx context.Context, u *sharer) error {
	patience, cancel := u.patience(ctx)
	defer cancel()
	name := "rwlocks/" + a.Name()
	acquire, weight := a.RLock, int64(1)
	switch u.rnd.IntN(8) {
	case 0, 1, 2:
		acquire, weight = a.Lock, readersAndWriters.Capacity
	case 3:
		acquire, weight = a.TryLock, readersAndWriters.Capacity
	case 4:
		acquire = a.TryRLock
	}
	attempt := u.rec.Ask(u.name, name).Weigh(weight)
	held, err := acquire(patience)
	if err != nil {
		attempt.Failed(err)
		return err
	}
	belief := u.use(ctx, attempt, held)
	if weight == 1 || u.rnd.IntN(2) == 0 {
		u.unlock(ctx, belief, held)
		return nil
	}
	belief.Releasing()
	reading := u.rec.Ask(u.name, name).Weigh(1)
	patience, cancel = u.patience(ctx)
	defer cancel()
	reader, err := a.Downgrade(patience, held)
	belief.Released(err)
	if err != nil {
		reading.Failed(err)
		return err
	}
	u.unlock(ctx, u.use(ctx, reading, reader), reader)
	return nil
}

type permitsActor struct{ *lock.Semaphore }

func (a permitsActor) act(ctx context.Context, u *sharer) error {
	patience, cancel := u.patience(ctx)
	defer cancel()
	weight := 1 + u.rnd.IntN(4)
	attempt := u.rec.Ask(u.name, "semaphores/"+a.Name()).Weigh(int64(weight))
	acquire := a.Acquire
	if u.rnd.IntN(4) == 0 {
		acquire = a.TryAcquire
	}
	held, err := acquire(patience, weight)
	if err != nil {
		attempt.Failed(err)
		return err
	}
	u.unlock(ctx, u.use(ctx, attempt, held), held)
	return nil
}

type allActor struct{ *session.Session }

// act takes a few of three mutexes and the sides of a reader-writer lock at
// once, or one alone.
func (a allActor) act(ctx context.Context, u *sharer) error {
	patience, cancel := u.patience(ctx)
	defer cancel()
	rw := lock.NewRWMutex(a.Session, "books")
	var locks []lock.Lockable
	var attempts []*history.Attempt
	ask := func(l lock.Lockable, name string, weight int64) {
		locks = append(locks, l)
		attempts = append(attempts, u.rec.Ask(u.name, name).Weigh(weight))
	}
	for _, i := range u.rnd.Perm(3)[:1+u.rnd.IntN(3)] {
		name := fmt.Sprintf("shelf-%d", i)
		ask(lock.NewMutex(a.Session, name), "locks/"+name, 0)
	}
	switch u.rnd.IntN(3) {
	case 0:
		ask(rw.ReadSide(), "rwlocks/books", 1)
	case 1:
		ask(rw.WriteSide(), "rwlocks/books", readersAndWriters.Capacity)
	}
	all, err := lock.All(patience, locks...)
	if err != nil {
		for _, attempt := range attempts {
			attempt.Failed(err)
		}
		return err
	}
	beliefs := make([]*history.Belief, len(locks))
	for i, held := range all.Each() {
		beliefs[i] = attempts[i].Acquired(held.Token(), held.Token()>>16)
		context.AfterFunc(held.Context(), func() { beliefs[i].Lost(context.Cause(held.Context())) })
	}
	pause(all.Context(), u.upTo(5*time.Second))
	var group sync.WaitGroup
	for i, held := range all.Each() {
		if !held.Valid() {
			beliefs[i].Lost(lock.ErrLost)
		}
		patience := u.upTo(4 * time.Second) // the generator is not for several at a time
		group.Go(func() { u.unlockWithin(ctx, patience, beliefs[i], held) })
	}
	group.Wait()
	if err := all.Unlock(ctx); !errors.Is(err, lock.ErrUnlocked) && !errors.Is(err, lock.ErrLost) {
		return fmt.Errorf("all were unlocked: %w", err)
	}
	return nil
}
