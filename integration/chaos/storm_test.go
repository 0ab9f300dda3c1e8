package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/integration/proxy"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

const (
	stormLength = 12 * time.Second
	// minGrants is far below what a storm brings about; without grants it would
	// prove nothing.
	minGrants = 10
	permits   = 3
	whole     = 1 << 20 // what an exclusive hold weighs
)

// A ledger knows who holds what, and complains when holds are certain at the
// same instant that do not go together.
type ledger struct {
	mu     sync.Mutex
	held   map[string][]entry
	grants int
	wrong  []string
}

type entry struct {
	held   *lock.Held
	weight int
}

// enter takes note of a grant. Valid is read at one instant for all, and a hold
// that was valid at any later one was valid before: so the check does not
// depend on who is scheduled when.
func (l *ledger) enter(name string, held *lock.Held, weight, capacity int) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grants++
	l.held[name] = append(l.held[name], entry{held, weight})
	sum, who := 0, ""
	for _, e := range l.held[name] {
		if e.held.Valid() {
			sum += e.weight
			who += fmt.Sprintf(" token %d weighs %d;", e.held.Token(), e.weight)
		}
	}
	if sum > capacity {
		l.wrong = append(l.wrong, fmt.Sprintf("%s: more than %d:%s", name, capacity, who))
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i, e := range l.held[name] {
			if e.held == held {
				l.held[name] = append(l.held[name][:i], l.held[name][i+1:]...)
				return
			}
		}
	}
}

// Everything happens to a cluster of three and its clients, at random, while
// they use locks of every kind.
func TestNoTwoHoldWhatDoesNotGoTogetherInAStorm(t *testing.T) {
	t.Parallel() // most of it is waiting
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := alone(t)
	book := &ledger{held: make(map[string][]entry)}
	ctx, cancel := context.WithTimeout(context.Background(), stormLength)
	defer cancel()
	var group sync.WaitGroup
	var links [][]*proxy.Proxy
	for i := range 6 {
		client, mine := proxied(t, c)
		links = append(links, mine)
		s := c.SessionOn(t, client, session.WithTTL(ttl))
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		group.Go(func() {
			for ctx.Err() == nil {
				useAny(ctx, s, rnd, book)
			}
		})
	}
	for i, strike := range []func(context.Context, *rand.Rand){
		func(ctx context.Context, rnd *rand.Rand) { strikeMembers(t, ctx, c, rnd) },
		func(ctx context.Context, rnd *rand.Rand) { strikeLinks(ctx, links[:3], rnd) },
		func(ctx context.Context, rnd *rand.Rand) { strikeLinks(ctx, links[3:], rnd) },
	} {
		rnd := rand.New(rand.NewPCG(seed, uint64(1000+i)))
		group.Go(func() {
			for ctx.Err() == nil {
				strike(ctx, rnd)
			}
		})
	}
	group.Wait()
	require.Empty(t, book.wrong)
	t.Logf("%d grants", book.grants)
	require.Greater(t, book.grants, minGrants, "a quiet run proves nothing")

	// And then everything is free again.
	s := c.Session(t)
	all, err := lock.All(harness.Context(t), lock.NewMutex(s, "m-0"), lock.NewMutex(s, "m-1"), lock.NewRWMutex(s, "rw").WriteSide())
	require.NoError(t, err)
	require.NoError(t, all.Unlock(harness.Context(t)))
	free, err := lock.NewSemaphore(s, "sem", permits).Acquire(harness.Context(t), permits)
	require.NoError(t, err)
	require.NoError(t, free.Unlock(harness.Context(t)))
}

// useAny takes one of the locks, or several, holds it for a moment and gives
// it back.
func useAny(ctx context.Context, s *session.Session, rnd *rand.Rand, book *ledger) {
	patience, cancel := context.WithTimeout(ctx, time.Duration(1+rnd.IntN(4))*time.Second)
	defer cancel()
	name, weight, capacity := "rw", whole, whole
	var held *lock.Held
	var err error
	switch rnd.IntN(5) {
	case 0:
		name = fmt.Sprintf("m-%d", rnd.IntN(2))
		held, err = lock.NewMutex(s, name).Lock(patience)
	case 1:
		held, err = lock.NewRWMutex(s, name).Lock(patience)
	case 2:
		weight = 1
		held, err = lock.NewRWMutex(s, name).RLock(patience)
	case 3:
		name, weight, capacity = "sem", 1+rnd.IntN(permits), permits
		held, err = lock.NewSemaphore(s, name, permits).Acquire(patience, weight)
	case 4:
		useAll(patience, s, rnd, book)
		return
	}
	if err != nil {
		rest(ctx, rnd)
		return
	}
	defer book.enter(name, held, weight, capacity)()
	if rnd.IntN(20) == 0 { // for longer than a lease, if it is not lost
		last(held.Context(), rnd, ttl, 2*ttl)
	}
	rest(held.Context(), rnd)
	unlock(held.Unlock)
}

func useAll(ctx context.Context, s *session.Session, rnd *rand.Rand, book *ledger) {
	all, err := lock.All(ctx, lock.NewMutex(s, "m-1"), lock.NewRWMutex(s, "rw").ReadSide(), lock.NewMutex(s, "m-0"))
	if err != nil {
		rest(ctx, rnd)
		return
	}
	for i, held := range all.Each() {
		weight := whole
		if i == 1 {
			weight = 1
		}
		defer book.enter(held.Name(), held, weight, whole)()
	}
	rest(all.Context(), rnd)
	unlock(all.Unlock)
}

// unlock gives back what was held. Its errors are what a storm is like.
func unlock(give func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = give(ctx)
}

func rest(ctx context.Context, rnd *rand.Rand) {
	select {
	case <-time.After(time.Duration(rnd.IntN(50)) * time.Millisecond):
	case <-ctx.Done():
	}
}

// strikeMembers makes something happen to the cluster and mends it after a
// while.
func strikeMembers(t *testing.T, ctx context.Context, c *harness.Cluster, rnd *rand.Rand) {
	during := func() { last(ctx, rnd, 50*time.Millisecond, time.Second) }
	defer during() // and then a calm
	victim := rnd.IntN(3)
	switch rnd.IntN(4) {
	case 0:
		assert.NoError(t, c.Kill(victim))
		during()
		assert.NoError(t, c.Restart(harness.Context(t), victim))
	case 1:
		cut := server(t, c, victim)
		for j := range 3 {
			if j != victim {
				other := server(t, c, j)
				cut.CutPeer(types.ID(other.MemberID()))
				other.CutPeer(types.ID(cut.MemberID()))
				defer cut.MendPeer(types.ID(other.MemberID()))
				defer other.MendPeer(types.ID(cut.MemberID()))
			}
		}
		during()
	case 2:
		from, to := server(t, c, victim), server(t, c, (victim+1)%3)
		if from.Lead() == uint64(from.MemberID()) {
			_ = from.MoveLeader(ctx, uint64(from.MemberID()), uint64(to.MemberID())) // it may just be deposed
		}
	case 3:
		if resp, err := c.Client().Get(ctx, "none", clientv3.WithSerializable()); err == nil {
			_, _ = c.Client().Compact(ctx, resp.Header.Revision) // it may be compacted already
		}
	}
}

// strikeLinks makes something happen between one client and one or more of the
// members, which now and then lasts for longer than a lease.
func strikeLinks(ctx context.Context, links [][]*proxy.Proxy, rnd *rand.Rand) {
	modes := []proxy.Mode{proxy.BlackHole, proxy.Pause, proxy.PauseAnswers, proxy.Refuse}
	mode, mine := modes[rnd.IntN(len(modes))], links[rnd.IntN(len(links))]
	for _, link := range mine[rnd.IntN(len(mine)):] {
		link.Set(mode)
	}
	last(ctx, rnd, 50*time.Millisecond, 2*ttl)
	for _, link := range mine {
		link.Set(proxy.Pass)
	}
	last(ctx, rnd, 50*time.Millisecond, time.Second)
}

func last(ctx context.Context, rnd *rand.Rand, least, most time.Duration) {
	select {
	case <-time.After(least + time.Duration(rnd.Int64N(int64(most-least)))):
	case <-ctx.Done():
	}
}
