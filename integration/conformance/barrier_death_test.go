package conformance

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/gotenure/tenure/barrier"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/session"
)

// Parties die, give up or have their keys deleted at every step, and everybody
// else is told the same, with the name of who it was.
func TestAPartyThatDiesIsNamedToAllOthers(t *testing.T) {
	type ending struct {
		name string
		why  barrier.Reason
		end  func(t *testing.T, p *party)
	}
	endings := []ending{
		{"loses its lease", barrier.ReasonDied, func(t *testing.T, p *party) { kill(t, p.session) }},
		{"closes its session", barrier.ReasonDied, func(t *testing.T, p *party) {
			require.NoError(t, p.session.Close(harness.Context(t)))
		}},
		{"gives up", barrier.ReasonGaveUp, func(t *testing.T, p *party) { p.giveUp() }},
	}
	type step struct {
		name           string
		until          func(cr *crowd, t *testing.T, c *harness.Cluster) // brings them there
		rest           func(cr *crowd, t *testing.T)                     // what the others still do
		cyclic, inside bool
	}
	steps := []step{
		{name: "waiting at a cyclic barrier", cyclic: true, until: (*crowd).comeBut1, rest: nothing},
		{name: "waiting to enter", until: (*crowd).comeBut1, rest: nothing},
		{name: "inside", inside: true, until: (*crowd).getIn, rest: (*crowd).leaveAll},
		{name: "leaving", until: (*crowd).beginToLeave, rest: (*crowd).leaveLate},
	}
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		for _, s := range steps {
			for _, who := range []string{"the first", "another"} {
				for _, e := range endings {
					if s.inside && e.why == barrier.ReasonGaveUp {
						continue // who is inside and gives up, leaves
					}
					t.Run(s.name+"/"+who+"/"+e.name, func(t *testing.T) {
						cr := newCrowd(t, c, harness.Name(t), s.cyclic)
						s.until(cr, t, c)
						victim := cr.keeper
						if who == "another" {
							victim = cr.other(victim)
						}
						e.end(t, victim)
						if !s.inside {
							err := harness.Got(t, victim.result)
							if e.why == barrier.ReasonGaveUp {
								require.ErrorIs(t, err, context.Canceled)
							} else {
								require.ErrorIs(t, err, barrier.ErrLost)
							}
						}
						s.rest(cr, t)
						for _, p := range cr.there {
							if p == victim {
								continue
							}
							named(t, harness.Got(t, p.result), victim.session.Name(), e.why)
						}
						c.AwaitKeys(t, partyKeys(cr.kind, cr.name), 0)
						cr.again(t, c)
					})
				}
			}
		}
	})
}

// The others are complete but for the one that has died.
func TestADeadPartyIsNotCounted(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		cr := newCrowd(t, c, harness.Name(t), true)
		cr.comeBut1(t, c)
		kill(t, cr.all[1].session)
		late := barrier.NewCyclic(c.Session(t), cr.name, crowdSize)
		ctx, cancel := context.WithCancel(harness.Context(t))
		waiting := []<-chan passing{awaitLater(ctx, late), awaitLater(ctx, late)}
		named(t, harness.Got(t, cr.keeper.result), "two", barrier.ReasonDied)
		cancel()
		for _, w := range waiting {
			require.Error(t, harness.Got(t, w).err)
		}
		c.AwaitKeys(t, partyKeys("cyclic", cr.name), 0)
	})
}

func nothing(*crowd, *testing.T) {}

// A party is one session at a barrier.
type party struct {
	session *session.Session
	ctx     context.Context
	giveUp  context.CancelFunc
	entry   *barrier.Entry
	result  chan error // of what it waits for
}

// A crowd is three parties at one barrier.
type crowd struct {
	kind, name string
	all        []*party
	there      []*party        // who waits, or is inside
	keeper     *party          // who came first
	looked     <-chan struct{} // it has seen who is there; who dies before that has not come
}

const crowdSize = 3

func newCrowd(t *testing.T, c *harness.Cluster, name string, cyclic bool) *crowd {
	cr := &crowd{kind: "double", name: name}
	if cyclic {
		cr.kind = "cyclic"
	}
	looked := make(chan struct{}, 100)
	cr.looked = looked
	for i, name := range []string{"one", "two", "three"} {
		client, faults := c.Dial(t)
		if i == 0 {
			faults.OnCall(func(req any, call func() error) error {
				err := call()
				if r, ok := req.(*pb.RangeRequest); ok && err == nil && string(r.Key) == partyKeys(cr.kind, cr.name) {
					looked <- struct{}{}
				}
				return err
			})
		}
		p := &party{session: c.SessionOn(t, client, session.WithName(name)), result: make(chan error, 1)}
		p.ctx, p.giveUp = context.WithCancel(harness.Context(t))
		t.Cleanup(p.giveUp)
		cr.all = append(cr.all, p)
	}
	return cr
}

func (cr *crowd) other(than *party) *party {
	for _, p := range cr.there {
		if p != than {
			return p
		}
	}
	panic("nobody else")
}

// come has a party wait at the barrier.
func (cr *crowd) come(p *party) {
	cr.there = append(cr.there, p)
	go func() {
		if cr.kind == "cyclic" {
			_, err := barrier.NewCyclic(p.session, cr.name, crowdSize).Await(p.ctx)
			p.result <- err
			return
		}
		entry, err := barrier.NewDouble(p.session, cr.name, crowdSize).Enter(p.ctx)
		p.entry = entry
		p.result <- err
	}()
}

// comeBut1 has all but one wait, the first of them as the keeper.
func (cr *crowd) comeBut1(t *testing.T, c *harness.Cluster) {
	cr.keeper = cr.all[0]
	for i, p := range cr.all[:crowdSize-1] {
		cr.come(p)
		c.AwaitKeys(t, partyKeys(cr.kind, cr.name), i+1)
		if i == 0 {
			harness.Got(t, cr.looked)
		}
	}
}

func (cr *crowd) getIn(t *testing.T, _ *harness.Cluster) {
	for _, p := range cr.all {
		cr.come(p)
	}
	for _, p := range cr.all {
		require.NoError(t, harness.Got(t, p.result))
	}
	cr.keeper = cr.all[0]
}

func (cr *crowd) leave(p *party) { go func() { p.result <- p.entry.Leave(p.ctx) }() }

func (cr *crowd) leaveAll(t *testing.T) {
	for _, p := range cr.all {
		cr.leave(p)
	}
}

// beginToLeave has all but one wait at the exit, the first of them as the
// keeper.
func (cr *crowd) beginToLeave(t *testing.T, c *harness.Cluster) {
	cr.getIn(t, c)
	cr.there = cr.all[:crowdSize-1]
	d := barrier.NewDouble(c.Session(t), cr.name, crowdSize)
	for i, p := range cr.there {
		cr.leave(p)
		awaitStatus(t, d, func(st barrier.Status) bool { return len(st.Present) == i+1 })
	}
}

// leaveLate has the last one come to the exit, where the others are, or have
// been until one of them died.
func (cr *crowd) leaveLate(*testing.T) {
	late := cr.all[crowdSize-1]
	cr.there = append(slices.Clone(cr.there), late)
	cr.leave(late)
}

// again shows that the barrier can be used after all that.
func (cr *crowd) again(t *testing.T, c *harness.Cluster) {
	fresh := newCrowd(t, c, cr.name, cr.kind == "cyclic")
	fresh.getIn(t, c)
	if fresh.kind == "double" {
		fresh.leaveAll(t)
		for _, p := range fresh.all {
			require.NoError(t, harness.Got(t, p.result))
		}
	}
	c.AwaitKeys(t, partyKeys(fresh.kind, fresh.name), 0)
}

// awaitStatus asks again and again until the barrier stands as it should.
func awaitStatus(t *testing.T, d *barrier.Double, stands func(barrier.Status) bool) {
	t.Helper()
	ctx := harness.Context(t)
	for {
		st, err := d.Status(ctx)
		require.NoError(t, err)
		if stands(st) {
			return
		}
	}
}
