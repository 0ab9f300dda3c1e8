package interop

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"

	"github.com/gotenure/tenure/election"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/session"
)

// A rival is another program's candidate.
type rival struct {
	lease    clientv3.LeaseID
	campaign func(ctx context.Context, value string) error
	proclaim func(ctx context.Context, value string) error
	resign   func(ctx context.Context) error
	leader   func(ctx context.Context) (value string, err error)
	observe  func(ctx context.Context) (next func() string)
}

// rivals are the programs that stand below a prefix as etcd's concurrency
// package does: itself, which `etcdctl elect` is made of, and the election
// service that etcd serves to clients in other languages.
var rivals = map[string]func(t *testing.T, c *harness.Cluster, prefix string) rival{
	"concurrency": func(t *testing.T, c *harness.Cluster, prefix string) rival {
		client, _ := c.Dial(t)
		s, err := concurrency.NewSession(client)
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		e := concurrency.NewElection(s, prefix)
		return rival{
			lease:    s.Lease(),
			campaign: e.Campaign,
			proclaim: e.Proclaim,
			resign:   e.Resign,
			leader: func(ctx context.Context) (string, error) {
				resp, err := e.Leader(ctx)
				if err != nil {
					return "", err
				}
				return string(resp.Kvs[0].Value), nil
			},
			observe: func(ctx context.Context) func() string {
				events := e.Observe(ctx)
				return func() string { return string(harness.Got(t, events).Kvs[0].Value) }
			},
		}
	},
	"v3election": func(t *testing.T, c *harness.Cluster, prefix string) rival {
		client, _ := c.Dial(t)
		lease, err := client.Grant(harness.Context(t), 60)
		require.NoError(t, err)
		service := v3electionpb.NewElectionClient(client.ActiveConnection())
		name := []byte(prefix)
		var key *v3electionpb.LeaderKey
		return rival{
			lease: lease.ID,
			campaign: func(ctx context.Context, value string) error {
				answer, err := service.Campaign(ctx, &v3electionpb.CampaignRequest{
					Name: name, Lease: int64(lease.ID), Value: []byte(value)})
				key = answer.GetLeader()
				return err
			},
			proclaim: func(ctx context.Context, value string) error {
				_, err := service.Proclaim(ctx, &v3electionpb.ProclaimRequest{Leader: key, Value: []byte(value)})
				return err
			},
			resign: func(ctx context.Context) error {
				_, err := service.Resign(ctx, &v3electionpb.ResignRequest{Leader: key})
				return err
			},
			leader: func(ctx context.Context) (string, error) {
				answer, err := service.Leader(ctx, &v3electionpb.LeaderRequest{Name: name})
				return string(answer.GetKv().GetValue()), err
			},
			observe: func(ctx context.Context) func() string {
				stream, err := service.Observe(ctx, &v3electionpb.LeaderRequest{Name: name})
				require.NoError(t, err)
				return func() string {
					answer, err := stream.Recv()
					require.NoError(t, err)
					return string(answer.Kv.Value)
				}
			},
		}
	},
}

func eachRival(t *testing.T, test func(t *testing.T, c *harness.Cluster, e *election.Election, other rival)) {
	for name, connect := range rivals {
		t.Run(name, func(t *testing.T) {
			harness.OneMember(t, func(c *harness.Cluster) {
				prefix := "/shared/" + harness.Name(t)
				e := election.New(c.Session(t), "any", election.AtKey(prefix), election.WithValue([]byte("ours")))
				require.Equal(t, prefix+"/", e.Prefix())
				test(t, c, e, connect(t, c, prefix))
			})
		})
	}
}

func TestTheOtherProgramFollowsOurTerm(t *testing.T) {
	eachRival(t, func(t *testing.T, c *harness.Cluster, e *election.Election, other rival) {
		term, err := e.Campaign(harness.Context(t))
		require.NoError(t, err)
		value, err := other.leader(harness.Context(t))
		require.NoError(t, err)
		require.Equal(t, "ours", value)
		next := other.observe(harness.Context(t))
		require.Equal(t, "ours", next())
		require.NoError(t, term.Proclaim(harness.Context(t), []byte("moved")))
		require.Equal(t, "moved", next())

		won := make(chan error, 1)
		go func() { won <- other.campaign(harness.Context(t), "theirs") }()
		c.AwaitKeys(t, e.Prefix(), 2)
		list, err := e.Candidates(harness.Context(t))
		require.NoError(t, err)
		require.False(t, list[0].Foreign)
		require.True(t, list[1].Foreign)
		require.Equal(t, other.lease, list[1].Lease)
		select {
		case <-won:
			require.FailNow(t, "both lead")
		default:
		}
		require.NoError(t, term.Resign(harness.Context(t)))
		require.NoError(t, harness.Got(t, won))
		require.Equal(t, "theirs", next())
		require.NoError(t, other.resign(harness.Context(t)))
	})
}

func TestWeFollowTheOtherProgramsTerm(t *testing.T) {
	eachRival(t, func(t *testing.T, c *harness.Cluster, e *election.Election, other rival) {
		require.NoError(t, other.campaign(harness.Context(t), "theirs"))
		leader, err := e.Leader(harness.Context(t))
		require.NoError(t, err)
		require.Equal(t, "theirs", string(leader.Value))
		events := make(chan election.Event, 10)
		ctx, stop := context.WithCancel(harness.Context(t))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for ev, err := range e.Observe(ctx) {
				if err == nil {
					events <- ev
				}
			}
		}()
		require.Equal(t, "theirs", string(harness.Got(t, events).Value))
		require.NoError(t, other.proclaim(harness.Context(t), "changed"))
		ev := harness.Got(t, events)
		require.Equal(t, election.Changed, ev.Kind)
		require.Equal(t, leader.Token, ev.Token)

		short, cancel := context.WithTimeout(harness.Context(t), 50*time.Millisecond)
		defer cancel()
		_, err = e.Campaign(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		terms := make(chan *election.Term, 1)
		go func() {
			term, _ := e.Campaign(harness.Context(t))
			terms <- term
		}()
		c.AwaitKeys(t, e.Prefix(), 2)
		require.NoError(t, other.resign(harness.Context(t)))
		term := harness.Got(t, terms)
		require.NotNil(t, term)
		require.Equal(t, term.Token(), harness.Got(t, events).Token)
		require.NoError(t, term.Resign(harness.Context(t)))
		require.Equal(t, election.Vacant, harness.Got(t, events).Kind)
		stop()
		<-ended
		require.Empty(t, c.Keys(t, e.Prefix()))
	})
}

// A candidate of another program never looks whether its key is still there. If
// it were moved, it would come to lead beside the one that was preferred to it.
func TestACandidateOfAnotherProgramIsNeverMoved(t *testing.T) {
	eachRival(t, func(t *testing.T, c *harness.Cluster, e *election.Election, other rival) {
		term, err := e.Campaign(harness.Context(t))
		require.NoError(t, err)
		won := make(chan error, 1)
		go func() { won <- other.campaign(harness.Context(t), "theirs") }()
		c.AwaitKeys(t, e.Prefix(), 2)
		behind := election.New(c.Session(t, session.WithName("behind")), "any", election.AtKey(e.Prefix()[:len(e.Prefix())-1]))
		terms := make(chan *election.Term, 1)
		go func() {
			term, _ := behind.Campaign(harness.Context(t))
			terms <- term
		}()
		c.AwaitKeys(t, e.Prefix(), 3)
		require.ErrorIs(t, term.Transfer(harness.Context(t), "behind"), election.ErrBlocked)
		require.True(t, term.Valid())

		// To the other program itself it can be handed over.
		require.NoError(t, term.Transfer(harness.Context(t), strconv.FormatInt(int64(other.lease), 16)))
		require.NoError(t, harness.Got(t, won))
		require.NoError(t, other.resign(harness.Context(t)))
		next := harness.Got(t, terms)
		require.NotNil(t, next)
		require.NoError(t, next.Resign(harness.Context(t)))
	})
}
