package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/config/fleet"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/session"
)

// A squad is instances of one configuration and who looks at them.
type squad struct {
	fleet  *fleet.Fleet
	values []*config.Value[limits]
	most   []*atomic.Int64 // max_conns beyond which an instance refuses
	sick   []*atomic.Bool
	s      []*session.Session
	member []*fleet.Member
}

// newSquad starts n instances, named i0 and so on.
func newSquad(t *testing.T, c *harness.Cluster, name string, n int) *squad {
	t.Helper()
	f, err := fleet.New(c.Client(), "", name)
	require.NoError(t, err)
	squad := &squad{fleet: f}
	for i := range n {
		most, sick := new(atomic.Int64), new(atomic.Bool)
		most.Store(1000)
		client, _ := c.Dial(t)
		v := watchLimits(t, client, name, instance(fmt.Sprintf("i%d", i)), config.WithValidation(func(l *limits) error {
			if int64(l.MaxConns) > most.Load() {
				return &config.FieldError{Path: "max_conns", Problem: "more than this machine can"}
			}
			return nil
		}))
		s := c.SessionOn(t, client, session.WithTTL(session.MinTTL))
		m, err := fleet.Join(s, v, fleet.WithHealth(func(context.Context) error {
			if sick.Load() && v.Get().MaxConns > 1 {
				return errors.New("too many errors")
			}
			return nil
		}, 10*time.Millisecond))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close(harness.Context(t))) })
		squad.values, squad.most, squad.sick = append(squad.values, v), append(squad.most, most), append(squad.sick, sick)
		squad.s, squad.member = append(squad.s, s), append(squad.member, m)
	}
	rev, err := squad.values[0].Put(harness.Context(t), limits{MaxConns: 1})
	require.NoError(t, err)
	squad.await(t, n)
	_, err = squad.fleet.WaitApplied(harness.Context(t), rev, fleet.All())
	require.NoError(t, err)
	return squad
}

// await waits until so many instances report.
func (c *squad) await(t *testing.T, n int) {
	t.Helper()
	names := []string{}
	for i := range n {
		names = append(names, fmt.Sprintf("i%d", i))
	}
	_, err := c.fleet.WaitApplied(harness.Context(t), 1, fleet.Names(names...))
	require.NoError(t, err)
}

func (c *squad) conns(t *testing.T, rev int64) (out []int) {
	t.Helper()
	for _, v := range c.values {
		out = append(out, waitFor(t, v, rev).Value.MaxConns)
	}
	return out
}

func TestItIsKnownWhoHasAppliedWhat(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		ctx := harness.Context(t)
		squad := newSquad(t, c, harness.Name(t), 4)
		squad.most[2].Store(5)
		rev, err := squad.values[0].Update(ctx, func(l *limits) error { l.MaxConns = 9; return nil })
		require.NoError(t, err)
		status, err := squad.fleet.WaitApplied(ctx, rev, fleet.Names("i0", "i1", "i3"))
		require.NoError(t, err)
		require.Equal(t, rev, status.Revision)
		status, err = squad.fleet.WaitApplied(ctx, rev, fleet.Quorum())
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(status.Applied), 3)
		status, err = squad.fleet.WaitApplied(ctx, rev, fleet.All())
		require.ErrorIs(t, err, fleet.ErrRejected)
		require.ErrorContains(t, err, "1 rejected it (i2: max_conns: more than this machine can)")
		require.Equal(t, []string{"max_conns"}, status.Rejected[0].Rejected.Fields)

		squad.most[2].Store(1000)
		require.NoError(t, squad.values[2].Reload())
		for status.Rejected != nil { // it has changed its mind, and says so next
			status, err = squad.fleet.Status(ctx, rev)
			require.NoError(t, err)
		}
		_, err = squad.fleet.WaitApplied(ctx, rev, fleet.All())
		require.NoError(t, err)

		short, cancel := context.WithCancelCause(ctx)
		enough := errors.New("enough")
		cancel(enough)
		_, err = squad.fleet.WaitApplied(short, rev+1000, fleet.All())
		require.ErrorIs(t, err, fleet.ErrNotApplied)
		require.ErrorIs(t, err, enough)
	})
}

func TestAReportFollowsTheSessionIntoItsNextLeaseAndGoesWithTheMember(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		ctx := harness.Context(t)
		name := harness.Name(t)
		squad := newSquad(t, c, name, 2)
		before, err := squad.fleet.Reports(ctx)
		require.NoError(t, err)
		require.Len(t, before, 2)
		_, err = c.Client().Revoke(ctx, before[1].Lease)
		require.NoError(t, err)
		for after := before; len(after) != 2 || after[1].Lease == before[1].Lease; {
			after, err = squad.fleet.Reports(ctx)
			require.NoError(t, err)
		}
		require.NoError(t, squad.member[1].Close(ctx))
		after, err := squad.fleet.Reports(ctx)
		require.NoError(t, err)
		require.Len(t, after, 1)
		require.NoError(t, squad.s[0].Close(ctx))
		require.Empty(t, c.Keys(t, "/tenure/config/"+name+"/instances/"))
	})
}

// A report that was not answered arrives after a later one: it must not
// overwrite it.
func TestAReportThatArrivesLateDoesNotReplaceANewerOne(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		ctx, name := harness.Context(t), harness.Name(t)
		f, err := fleet.New(c.Client(), "", name)
		require.NoError(t, err)
		client, faults := c.Dial(t)
		v := watchLimits(t, client, name, instance("a"))
		late, applied := make(chan *pb.TxnRequest, 1), make(chan struct{})
		var caught atomic.Bool
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, "/tenure/config/"+name+"/instances/") && !caught.Swap(true) {
				late <- req.(*pb.TxnRequest) // the first report
				<-applied                    // and meanwhile the next value comes
				return harness.ErrDown
			}
			return call()
		})
		m, err := fleet.Join(c.SessionOn(t, client), v)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close(harness.Context(t))) })
		rev, err := v.Put(ctx, limits{MaxConns: 2})
		require.NoError(t, err)
		waitFor(t, v, rev)
		close(applied)
		_, err = f.WaitApplied(ctx, rev, fleet.Names("a"))
		require.NoError(t, err)
		resp, err := pb.NewKVClient(c.Client().ActiveConnection()).Txn(ctx, harness.Got(t, late))
		require.NoError(t, err)
		require.False(t, resp.Succeeded)
		reports, err := f.Reports(ctx)
		require.NoError(t, err)
		require.GreaterOrEqual(t, reports[0].Revision, rev)
	})
}

func TestAPlanAsksEveryInstanceAndChangesNothing(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		ctx, name := harness.Context(t), harness.Name(t)
		squad := newSquad(t, c, name, 3)
		draft, err := squad.values[0].Draft(ctx, func(l *limits) error { l.MaxConns = 9; return nil })
		require.NoError(t, err)
		verdicts, err := squad.fleet.Plan(ctx, draft)
		require.NoError(t, err)
		require.Equal(t, []fleet.Verdict{{Name: "i0"}, {Name: "i1"}, {Name: "i2"}}, verdicts)
		squad.most[1].Store(5)
		verdicts, err = squad.fleet.Plan(ctx, draft)
		require.ErrorIs(t, err, fleet.ErrRejected)
		require.ErrorContains(t, err, "1 of 3 would not accept it (i1:")
		require.Contains(t, verdicts[1].Problem, "max_conns: more than this machine can")
		require.Equal(t, 1, squad.values[0].Get().MaxConns)
		require.Empty(t, c.Keys(t, "/tenure/config/"+name+"/asks/"))
		require.Empty(t, c.Keys(t, "/tenure/config/"+name+"/answers/"))
	})
}

func steps(share ...config.Selection) fleet.Steps {
	return fleet.Steps{Selections: share, Quiet: 30 * time.Millisecond, Patience: harness.Patience}
}

func TestARolloutGoesStepByStepToEverybody(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		ctx := harness.Context(t)
		squad := newSquad(t, c, harness.Name(t), 3)
		order := make(chan string, 10)
		for i, v := range squad.values {
			v.OnChange(func(_, now config.Snapshot[limits]) {
				if now.Value.MaxConns == 2 {
					order <- fmt.Sprintf("i%d", i)
				}
			})
		}
		draft, err := squad.values[2].Draft(ctx, increment)
		require.NoError(t, err)
		rev, err := fleet.Rollout(ctx, squad.fleet, squad.values[2], draft,
			steps(config.Selection{Names: []string{"i1"}}, config.Selection{Names: []string{"i1", "i0"}}))
		require.NoError(t, err)
		require.Equal(t, []int{2, 2, 2}, squad.conns(t, rev))
		require.Equal(t, []string{"i1", "i0", "i2"}, []string{harness.Got(t, order), harness.Got(t, order), harness.Got(t, order)})
	})
}

func TestARolloutIsTakenBackWhenAnInstanceIsNotContent(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		one := config.Selection{Names: []string{"i0"}}
		for _, trouble := range []struct {
			name string
			make func(t *testing.T, squad *squad)
			says string
		}{
			{"it rejects it", func(_ *testing.T, squad *squad) { squad.most[0].Store(1) }, "i0: max_conns"},
			{"it falls ill", func(_ *testing.T, squad *squad) { squad.sick[0].Store(true) }, "i0 is not well: too many errors"},
			{"one of the rest rejects it", func(_ *testing.T, squad *squad) { squad.most[1].Store(1) }, "everybody: "},
			{"one of the rest falls ill", func(_ *testing.T, squad *squad) { squad.sick[1].Store(true) }, "i1 is not well"},
			{"it dies", func(t *testing.T, squad *squad) {
				squad.values[0].OnChange(func(_, now config.Snapshot[limits]) {
					if now.Staged != "" {
						go func() { // once it has been seen to have it
							_, err := squad.fleet.WaitApplied(harness.Context(t), now.Revision, fleet.Names("i0"))
							if err == nil {
								_ = squad.member[0].Close(context.Background())
							}
						}()
					}
				})
			}, "i0 has vanished"},
		} {
			t.Run(trouble.name, func(t *testing.T) {
				ctx := harness.Context(t)
				squad := newSquad(t, c, harness.Name(t), 3)
				trouble.make(t, squad)
				draft, err := squad.values[2].Draft(ctx, increment)
				require.NoError(t, err)
				plan := steps(one)
				plan.Quiet = harness.Patience // the trouble comes first
				if trouble.name[:3] == "one" {
					plan.Quiet = 30 * time.Millisecond
				}
				_, err = fleet.Rollout(ctx, squad.fleet, squad.values[2], draft, plan)
				require.ErrorIs(t, err, fleet.ErrRolledBack)
				require.ErrorContains(t, err, trouble.says)
				rev, err := squad.values[2].Update(ctx, func(l *limits) error { l.Timeout++; return nil })
				require.NoError(t, err)
				require.Equal(t, []int{1, 1, 1}, squad.conns(t, rev))
			})
		}
	})
}

func TestARolloutIsTakenBackWhenItsCallerGivesUp(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		squad := newSquad(t, c, harness.Name(t), 2)
		ctx, cancel := context.WithCancelCause(harness.Context(t))
		enough := errors.New("enough")
		squad.values[0].OnChange(func(_, now config.Snapshot[limits]) {
			if now.Staged != "" {
				cancel(enough)
			}
		})
		draft, err := squad.values[1].Draft(ctx, increment)
		require.NoError(t, err)
		plan := steps(config.Selection{Names: []string{"i0"}})
		plan.Quiet = harness.Patience
		_, err = fleet.Rollout(ctx, squad.fleet, squad.values[1], draft, plan)
		require.ErrorIs(t, err, fleet.ErrRolledBack)
		require.ErrorIs(t, err, enough)
		rev, err := squad.values[1].Update(harness.Context(t), func(l *limits) error { l.Timeout++; return nil })
		require.NoError(t, err)
		require.Equal(t, []int{1, 1}, squad.conns(t, rev))
	})
}

func TestARolloutWhoseStepChoosesNobodyIsTakenBack(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		ctx := harness.Context(t)
		squad := newSquad(t, c, harness.Name(t), 1)
		draft, err := squad.values[0].Draft(ctx, increment)
		require.NoError(t, err)
		plan := steps(config.Selection{Names: []string{"nobody"}})
		plan.Patience = 50 * time.Millisecond
		_, err = fleet.Rollout(ctx, squad.fleet, squad.values[0], draft, plan)
		require.ErrorIs(t, err, fleet.ErrRolledBack)
		require.ErrorContains(t, err, "no live instance is chosen")
		_, err = fleet.Rollout(ctx, squad.fleet, squad.values[0], draft, fleet.Steps{})
		require.Error(t, err)
		require.NotErrorIs(t, err, fleet.ErrRolledBack)
	})
}
