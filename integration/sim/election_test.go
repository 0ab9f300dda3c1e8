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
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/election"
	"github.com/gotenure/tenure/integration/history"
	"github.com/gotenure/tenure/integration/world"
	"github.com/gotenure/tenure/session"
)

const electionName = "scheduler"

// Terms are to an election what holds are to a lock, so the same checkers serve:
// M1 is E1, M2 is E2, and what they say of guards, grants, waiting and leftovers
// holds as well. E3 and E4 are checked by viewers and works.
func TestElectionHoldsUnderFaults(t *testing.T) {
	from := *first
	if from == 0 {
		from = rand.Uint64() >> 16
	}
	count := *seeds/5 + 1
	terms, gaps, seen := 0, 0, 0
	for seed := from; seed < from+count; seed++ {
		nodes := []string{"a", "b", "c", "d"}
		plan := world.Plan(seed, length, nodes, world.DefaultRates())
		h, p := simulateElection(t, plan, nodes)
		violations := history.Check(h, bounds)
		truth := truthOf(h, electionName)
		violations = append(violations, p.checkViewers(truth, h.End)...)
		violations = append(violations, p.checkWorks(h)...)
		if len(violations) > 0 {
			t.Fatalf("%s\n%s\n%s", plan, history.Report(violations), around(h, violations[0].At))
		}
		terms += h.Count(history.Acquired)
		for _, v := range p.viewers {
			seen += len(v.events)
			gaps += v.gaps()
		}
	}
	t.Logf("%d schedules of %v from seed %d: %d terms, %d events seen, %d gaps", count, length, from, terms, seen, gaps)
	require.Greater(t, terms, int(count)*20, "a quiet run proves nothing")
	require.Greater(t, seen, int(count)*100, "nor does one that nobody has seen")
	require.Less(t, gaps, seen/20, "a gap is for what cannot be told")
}

// A play is what the candidates and observers of a schedule have noted.
type electionPlay struct {
	w   *world.World
	rec *history.Recorder

	mu      sync.Mutex
	viewers []*viewer
	works   []work
}

func simulateElection(t *testing.T, plan world.Schedule, nodes []string) (h history.History, p *electionPlay) {
	t.Helper()
	world.Run(t, world.Config{Seed: plan.Seed}, func(t *testing.T, w *world.World) {
		p = &electionPlay{w: w, rec: history.NewRecorder(w.Now)}
		observer, err := history.Observe(w.Context(), w.Direct(), p.rec, history.Under("/tenure/elections/"))
		require.NoError(t, err)
		defer observer.Close()
		w.KeepUp(observer.WaitFor)
		w.OnLink(p.rec.Link)
		ctx, stop := context.WithCancel(w.Context())
		for _, name := range nodes {
			w.Go(func() {
				var since int64 // where the node's observer stopped
				for life := 0; ctx.Err() == nil; life++ {
					since = p.live(ctx, newProcess(w, p.rec, name, life, 1, nil), since)
				}
			})
		}
		require.NoError(t, w.Play(ctx, plan))
		pause(ctx, calm)
		h = p.rec.History() // before the end, which closes everything at once
		p.mu.Lock()
		for _, v := range p.viewers {
			v.stop()
		}
		p.mu.Unlock()
		stop()
	})
	return h, p
}

// live is one life of a process: a candidate, and an observer that goes on
// where the last one on the node stopped, or begins anew.
func (p *electionPlay) live(ctx context.Context, n *process, since int64) int64 {
	defer n.node.Close()
	create, cancel := context.WithTimeout(n.ctx, 20*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	s, err := session.New(create, n.node.Client(),
		session.WithTTL(time.Duration(1+n.rnd.IntN(5))*time.Second),
		session.WithName(n.name),
		session.WithObserver(session.Observer{Granted: func(g session.Grant) { n.rec.Session(n.name, int64(g.Lease)) }}))
	if err != nil {
		pause(ctx, time.Second)
		return since
	}
	life, die := context.WithTimeout(ctx, n.upTo(2*length))
	defer die()
	c := &candidate{process: n, play: p, rnd: n.w.RandFor(fmt.Sprintf("candidate %s-%d", n.name, n.life))}
	c.election = election.New(s, electionName, c.options()...)
	v := &viewer{name: n.name, since: since, slow: n.rnd.IntN(3) == 0, rnd: n.w.RandFor(fmt.Sprintf("viewer %s-%d", n.name, n.life))}
	if n.rnd.IntN(2) == 0 {
		v.since = 0
	}
	p.mu.Lock()
	p.viewers = append(p.viewers, v)
	p.mu.Unlock()
	var group sync.WaitGroup
	group.Go(func() { v.watch(life, p.w.Now, c.election) })
	group.Go(func() { c.run(life) })
	<-life.Done()
	if n.rnd.IntN(2) == 0 {
		n.node.Kill() // whatever it leads
	}
	closing, cancelClose := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancelClose()
	_ = s.Close(closing)
	group.Wait()
	_ = s.Close(context.Background())
	return v.last()
}

// A candidate stands, leads, and does to its term what one can.
type candidate struct {
	*process
	play     *electionPlay
	election *election.Election
	rnd      *rand.Rand

	mu   sync.Mutex
	sick *rand.Rand // draws how it is
}

func (c *candidate) options() []election.Option {
	opts := []election.Option{election.WithValue([]byte(c.name))}
	if c.rnd.IntN(3) == 0 {
		opts = append(opts, election.WithPriority(election.Priority{
			Rank: c.rnd.IntN(3), After: c.upTo(5 * time.Second), Wait: c.rnd.IntN(2) == 0}))
	}
	if c.rnd.IntN(4) == 0 {
		c.sick = c.w.RandFor(fmt.Sprintf("health %s-%d", c.name, c.life))
		opts = append(opts, election.WithHealth(election.Health{Every: time.Second, Failures: 2, Check: c.check}))
	}
	return opts
}

func (c *candidate) check(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sick.IntN(4) == 0 {
		return errors.New("not well")
	}
	return nil
}

// run takes part for a while by Run, and for a while by Campaign, in turns.
func (c *candidate) run(ctx context.Context) {
	for ctx.Err() == nil {
		part, cancel := context.WithTimeout(ctx, c.upTo(time.Minute))
		if c.rnd.IntN(2) == 0 {
			c.byRun(part)
		} else {
			for part.Err() == nil {
				c.byCampaign(part)
			}
		}
		cancel()
	}
}

// byRun notes each term of Run. The one before counts as given up when the next
// one begins, with an outcome that only Run knows.
func (c *candidate) byRun(ctx context.Context) {
	ctx, enough := context.WithTimeout(ctx, c.upTo(time.Minute))
	defer enough()
	within := errors.New("given up by Run")
	released := func() {}
	attempt := c.rec.Ask(c.name, electionName)
	err := c.election.Run(ctx, func(ctx context.Context, t *election.Term) error {
		released()
		belief := attempt.Acquired(t.Token(), t.Token())
		untold := context.AfterFunc(t.Context(), func() { belief.Lost(context.Cause(t.Context())) })
		defer untold()
		begun := c.w.Now()
		c.lead(ctx, belief, t)
		if c.rnd.IntN(2) == 0 {
			_ = c.end(ctx, t)
		}
		pause(context.Background(), c.upTo(time.Second)) // after which it really stops
		if !t.Valid() {
			belief.Lost(election.ErrLost)
		}
		c.play.worked(work{t.Token(), begun, c.w.Now()})
		belief.Releasing()
		released = func() { belief.Released(within) }
		attempt = c.rec.Ask(c.name, electionName)
		return nil
	})
	released()
	attempt.Failed(fmt.Errorf("run: %w", errors.Join(err, context.Cause(ctx))))
}

func (c *candidate) byCampaign(ctx context.Context) {
	patience, cancel := context.WithTimeout(ctx, c.upTo(20*time.Second))
	defer cancel()
	attempt := c.rec.Ask(c.name, electionName)
	t, err := c.election.Campaign(patience)
	if err != nil {
		attempt.Failed(err)
		pause(ctx, c.upTo(time.Second))
		return
	}
	belief := attempt.Acquired(t.Token(), t.Token())
	untold := context.AfterFunc(t.Context(), func() { belief.Lost(context.Cause(t.Context())) })
	defer untold()
	c.lead(t.Context(), belief, t)
	if c.rnd.IntN(3) == 0 {
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.upTo(4*time.Second))
		defer cancel()
		_ = t.Transfer(short, string('a'+rune(c.rnd.IntN(4))))
	}
	if !t.Valid() {
		belief.Lost(election.ErrLost)
	}
	belief.Releasing()
	resign, cancelResign := context.WithTimeout(context.WithoutCancel(ctx), c.upTo(4*time.Second))
	defer cancelResign()
	belief.Released(t.Resign(resign))
}

// lead is what a leader does: it writes, proclaims and takes its time.
func (c *candidate) lead(ctx context.Context, belief *history.Belief, t *election.Term) {
	c.write(belief, t)
	for i := range c.rnd.IntN(3) {
		short, cancel := context.WithTimeout(ctx, c.upTo(2*time.Second))
		_ = t.Proclaim(short, fmt.Appendf(nil, "%s %d.%d", c.name, t.Token(), i))
		cancel()
	}
	pause(ctx, c.upTo(5*time.Second))
	c.write(belief, t)
}

// end is how the work of a term in Run gives it up, and then goes on a little.
func (c *candidate) end(ctx context.Context, t *election.Term) error {
	if c.rnd.IntN(2) == 0 {
		return t.Resign(ctx)
	}
	return t.Transfer(ctx, string('a'+rune(c.rnd.IntN(4))))
}

// write is a guarded write, also by a leader that is no longer one.
func (c *candidate) write(belief *history.Belief, t *election.Term) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	w := belief.Write()
	answer, err := c.node.Client().Txn(ctx).If(t.Guard()...).Then(clientv3.OpPut("data", w.Mark())).Commit()
	switch {
	case err != nil:
		w.Unknown(err)
	case answer.Succeeded:
		w.Committed(answer.Header.Revision)
	default:
		w.Refused()
	}
}

func (c *candidate) upTo(d time.Duration) time.Duration { return upTo(c.rnd, d) }
