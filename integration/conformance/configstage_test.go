package conformance

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/integration/harness"
)

func instance(name string, labels ...string) config.Option {
	i := config.Instance{Name: name, Labels: map[string]string{}}
	for _, l := range labels {
		i.Labels[l] = "yes"
	}
	return config.WithInstance(i)
}

func TestAStagedChangeReachesThoseChosenAndThenEverybody(t *testing.T) {
	eachLayout(t, func(t *testing.T, c *harness.Cluster, name string, layout config.Option) {
		ctx := harness.Context(t)
		canary := watchLimits(t, c.Client(), name, layout, instance("a", "canary"))
		named := watchLimits(t, c.Client(), name, layout, instance("b"))
		rest := watchLimits(t, c.Client(), name, layout, instance("c"))
		nobody := watchLimits(t, c.Client(), name, layout)
		all := []*config.Value[limits]{canary, named, rest, nobody}
		values := func(rev int64) (out []int) {
			for _, v := range all {
				out = append(out, waitFor(t, v, rev).Value.MaxConns)
			}
			return out
		}
		first, err := canary.Put(ctx, limits{MaxConns: 1})
		require.NoError(t, err)
		require.Equal(t, []int{1, 1, 1, 1}, values(first))

		draft, err := rest.Draft(ctx, increment)
		require.NoError(t, err)
		id, rev, err := rest.Stage(ctx, draft, config.Selection{Labels: map[string]string{"canary": "yes"}})
		require.NoError(t, err)
		require.Equal(t, []int{2, 1, 1, 1}, values(rev))
		require.Equal(t, id, canary.Snapshot().Staged)
		require.Empty(t, rest.Snapshot().Staged)

		_, err = canary.Update(ctx, increment)
		require.ErrorIs(t, err, config.ErrStaged)
		_, _, err = rest.Stage(ctx, draft, config.Selection{Share: 1})
		require.ErrorIs(t, err, config.ErrStaged)
		_, err = rest.Promote(ctx, "another")
		require.ErrorIs(t, err, config.ErrNotStaged)

		rev, err = nobody.Widen(ctx, id, config.Selection{Names: []string{"b"}, Labels: map[string]string{"canary": "yes"}})
		require.NoError(t, err)
		require.Equal(t, []int{2, 2, 1, 1}, values(rev))
		before := canary.Get()
		rev, err = nobody.Promote(ctx, id)
		require.NoError(t, err)
		require.Equal(t, []int{2, 2, 2, 2}, values(rev))
		require.Same(t, before, canary.Get(), "for who had it nothing changes")
		_, _, staged, err := nobody.Staged(ctx)
		require.NoError(t, err)
		require.False(t, staged)
		history, err := nobody.History(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, rev, history[0].Revision)
		require.Contains(t, history[0].Note, id)
	})
}

func TestAStagedChangeIsTakenBack(t *testing.T) {
	eachLayout(t, func(t *testing.T, c *harness.Cluster, name string, layout config.Option) {
		ctx := harness.Context(t)
		v := watchLimits(t, c.Client(), name, layout, instance("a"))
		_, err := v.Put(ctx, limits{MaxConns: 1})
		require.NoError(t, err)
		draft, err := v.Draft(ctx, increment)
		require.NoError(t, err)
		id, rev, err := v.Stage(ctx, draft, config.Selection{Names: []string{"a"}})
		require.NoError(t, err)
		require.Equal(t, 2, waitFor(t, v, rev).Value.MaxConns)
		back, err := v.Unstage(ctx, id)
		require.NoError(t, err)
		require.Equal(t, 1, waitFor(t, v, back).Value.MaxConns)
		_, err = v.Unstage(ctx, id)
		require.ErrorIs(t, err, config.ErrNotStaged)
		rev, err = v.Update(ctx, increment)
		require.NoError(t, err, "writing is possible again")
		_, _, err = v.Stage(ctx, draft, config.Selection{Names: []string{"a"}})
		require.ErrorIs(t, err, config.ErrConflict)
		require.Equal(t, 2, waitFor(t, v, rev).Value.MaxConns)
	})
}

// Whatever is lost, staging, promoting and taking back are each done once.
func TestStagingSurvivesLostAnswers(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		for _, carryOut := range []bool{true, false} {
			ctx, name := harness.Context(t), harness.Name(t)
			client, faults := c.Dial(t)
			v := watchLimits(t, client, name, instance("a"))
			lose := func(creates bool) {
				done := false
				faults.OnCall(func(req any, call func() error) error {
					stage := "/tenure/config/" + name + "/live/stage"
					if done || !(creates && harness.Creates(req, stage) || !creates && harness.Deletes(req, stage)) {
						return call()
					}
					done = true
					if carryOut {
						if err := call(); err != nil {
							return err
						}
					}
					return harness.ErrDown
				})
			}
			for n := range 2 {
				draft, err := v.Draft(ctx, increment)
				require.NoError(t, err)
				lose(true)
				id, rev, err := v.Stage(ctx, draft, config.Selection{Share: 1})
				require.NoError(t, err)
				require.Equal(t, n+1, waitFor(t, v, rev).Value.MaxConns)
				lose(true)
				_, err = v.Widen(ctx, id, config.Selection{Names: []string{"a"}})
				require.NoError(t, err)
				lose(false)
				if n == 0 {
					rev, err = v.Promote(ctx, id)
				} else {
					rev, err = v.Unstage(ctx, id)
				}
				require.NoError(t, err)
				require.Equal(t, 1, waitFor(t, v, rev).Value.MaxConns)
			}
		}
	})
}

// A stage that nobody waits for any more must not come to be after others have
// written.
func TestAStageThatArrivesLateIsNotMade(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		ctx, name := harness.Context(t), harness.Name(t)
		client, faults := c.Dial(t)
		v := watchLimits(t, client, name, instance("a"))
		draft, err := v.Draft(ctx, increment)
		require.NoError(t, err)
		var late *pb.TxnRequest
		faults.OnCall(func(req any, call func() error) error {
			if late == nil && harness.Creates(req, "/tenure/config/"+name+"/live/stage") {
				late = req.(*pb.TxnRequest)
				return harness.ErrDown
			}
			return call()
		})
		id, _, err := v.Stage(ctx, draft, config.Selection{Share: 1})
		require.NoError(t, err)
		_, err = v.Unstage(ctx, id)
		require.NoError(t, err)
		resp, err := pb.NewKVClient(c.Client().ActiveConnection()).Txn(ctx, late)
		require.NoError(t, err)
		require.False(t, resp.Succeeded)
	})
}

func TestAStageThatCannotBeReadIsRejectedByInstancesOnly(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		v := watchLimits(t, c.Client(), name, instance("a"))
		plain := watchLimits(t, c.Client(), name)
		rev := put(t, c, "/tenure/config/"+name+"/live/stage", "nonsense")
		_, err := v.Wait(harness.Context(t), rev)
		require.ErrorIs(t, err, config.ErrRejected)
		waitFor(t, plain, rev)
		_, err = v.Update(harness.Context(t), increment)
		require.ErrorIs(t, err, config.ErrStaged)
		_, _, _, err = v.Staged(harness.Context(t))
		require.ErrorContains(t, err, "cannot be read")
	})
}

func TestASelectionThatChoosesNobodyIsRefused(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		ctx := harness.Context(t)
		v := watchLimits(t, c.Client(), harness.Name(t))
		draft, err := v.Draft(ctx, increment)
		require.NoError(t, err)
		for _, s := range []config.Selection{{}, {Share: -1}, {Share: 1.1}} {
			_, _, err := v.Stage(ctx, draft, s)
			require.ErrorIs(t, err, config.ErrConfig, fmt.Sprint(s))
		}
		at := watchLimits(t, c.Client(), harness.Name(t), config.AtKey("/x/"+harness.Name(t)))
		draft, err = at.Draft(ctx, increment)
		require.NoError(t, err)
		_, _, err = at.Stage(ctx, draft, config.Selection{Share: 1})
		require.ErrorIs(t, err, config.ErrConfig)
		_, err = v.Apply(ctx, draft)
		require.ErrorIs(t, err, config.ErrConfig, "of another configuration")
	})
}
