package conformance

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/election"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/session"
)

// deliver sends a request that the test has kept back.
func deliver(t *testing.T, c *harness.Cluster, req *pb.TxnRequest) *pb.TxnResponse {
	t.Helper()
	answer, err := pb.NewKVClient(c.Client().ActiveConnection()).Txn(harness.Context(t), req)
	require.NoError(t, err)
	return answer
}

func TestACandidateWhoseLeaseIsGoneStandsAgainWithAnother(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		leader := election.New(c.Session(t), name)
		term := mustCampaign(t, leader)
		s := c.Session(t, session.WithTTL(time.Minute))
		standing := campaignLater(harness.Context(t), election.New(s, name))
		c.AwaitKeys(t, leader.Prefix(), 2)
		old, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		_, err = c.Client().Revoke(harness.Context(t), old.Lease())
		require.NoError(t, err)
		harness.Ended(t, old.Context())
		now, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		c.AwaitKeys(t, leader.Prefix(), 2)

		mustResign(t, term)
		next := mustWin(t, standing)
		require.True(t, next.Valid())
		require.Equal(t, next.Token(), revisionOf(t, c, next.Key()))
		require.NotEqual(t, old.Lease(), now.Lease())
		mustResign(t, next)
	})
}

func revisionOf(t *testing.T, c *harness.Cluster, key string) int64 {
	t.Helper()
	resp, err := c.Client().Get(harness.Context(t), key)
	require.NoError(t, err)
	require.Len(t, resp.Kvs, 1)
	return resp.Kvs[0].CreateRevision
}

// The candidate is cut off while it is next in line. Its lease runs out, the
// leader resigns, and a third one leads: no news that reaches it late elects it.
func TestACampaignIsNotWonAfterTheCandidatesLeaseRanOut(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		leader := election.New(c.Session(t), name)
		term := mustCampaign(t, leader)
		client, faults := c.Dial(t)
		s := c.SessionOn(t, client, session.WithTTL(time.Second))
		cut := campaignLater(harness.Context(t), election.New(s, name))
		c.AwaitKeys(t, leader.Prefix(), 2)
		third := campaignLater(harness.Context(t), election.New(c.Session(t), name))
		c.AwaitKeys(t, leader.Prefix(), 3)
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)

		faults.Cut()
		faults.Deafen()
		c.AwaitKeys(t, leader.Prefix(), 2)
		mustResign(t, term)
		next := mustWin(t, third)
		require.Error(t, epoch.Context().Err(), "the session knows by now")
		faults.Mend()
		faults.Break()
		c.AwaitKeys(t, leader.Prefix(), 2) // it stands again
		require.True(t, next.Valid())
		mustResign(t, next)
		mustResign(t, mustWin(t, cut))
	})
}

func TestACampaignThatFailsLeavesNoCandidacy(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		e := election.New(c.SessionOn(t, client), harness.Name(t))
		ctx, cancel := context.WithCancel(harness.Context(t))
		faults.OnCall(func(req any, call func() error) error {
			err := call()
			if harness.Creates(req, e.Prefix()) {
				cancel() // it stands, and its caller does not learn it
				return harness.ErrDown
			}
			return err
		})
		_, err := e.Campaign(ctx)
		require.ErrorIs(t, err, context.Canceled)
		faults.Mend()
		c.AwaitKeys(t, e.Prefix(), 0)
		mustResign(t, mustCampaign(t, e))
		require.Empty(t, candidacies(t, c, e))

		// So it is when it is given up while another one leads.
		term := mustCampaign(t, election.New(c.Session(t), e.Name()))
		ctx, cancel = context.WithCancel(harness.Context(t))
		standing := campaignLater(ctx, e)
		c.AwaitKeys(t, e.Prefix(), 2)
		cancel()
		require.ErrorIs(t, harness.Got(t, standing).err, context.Canceled)
		mustResign(t, term)
		require.Empty(t, candidacies(t, c, e))
	})
}

func TestACandidacyThatArrivesAfterItsCallerGaveUpNeverStands(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		e := election.New(c.SessionOn(t, client), harness.Name(t))
		ctx, cancel := context.WithCancel(harness.Context(t))
		late := make(chan *pb.TxnRequest, 1)
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, e.Prefix()) {
				late <- req.(*pb.TxnRequest)
				cancel()
				return harness.ErrDown
			}
			return call()
		})
		_, err := e.Campaign(ctx)
		require.ErrorIs(t, err, context.Canceled)
		faults.Mend()
		require.False(t, deliver(t, c, harness.Got(t, late)).Succeeded)
		require.Empty(t, candidacies(t, c, e))
	})
}

func TestAResignationThatFailedCanBeRepeated(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		e := election.New(c.SessionOn(t, client, session.WithTTL(time.Minute)), harness.Name(t))
		term := mustCampaign(t, e)
		other := campaignLater(harness.Context(t), election.New(c.Session(t), e.Name()))
		c.AwaitKeys(t, e.Prefix(), 2)
		faults.OnCall(func(any, func() error) error { return harness.ErrDown })
		for range 2 {
			ctx, cancel := context.WithTimeout(harness.Context(t), 50*time.Millisecond)
			require.ErrorIs(t, term.Resign(ctx), election.ErrPending)
			cancel()
			require.False(t, term.Valid())
		}
		require.Len(t, c.Keys(t, e.Prefix()), 2)
		faults.Mend()
		mustResign(t, term)
		require.Len(t, c.Keys(t, e.Prefix()), 1)
		mustResign(t, mustWin(t, other))
	})
}

func TestARepeatedResignationNeverEndsALaterTerm(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		e := election.New(c.SessionOn(t, client), harness.Name(t))
		term := mustCampaign(t, e)
		deletes := make(chan *pb.TxnRequest, 10)
		faults.OnCall(once(func(req any) bool {
			if harness.Deletes(req, e.Prefix()) {
				deletes <- req.(*pb.TxnRequest)
				return true
			}
			return false
		}))
		mustResign(t, term) // the first try committed, its answer was lost
		again := mustCampaign(t, e)
		require.False(t, deliver(t, c, harness.Got(t, deletes)).Succeeded)
		mustResign(t, term)
		require.True(t, again.Valid())
		require.Len(t, c.Keys(t, e.Prefix()), 1)
		mustResign(t, again)
	})
}

func TestAProclamationIsScopedToItsTerm(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		e := election.New(c.SessionOn(t, client), harness.Name(t), election.WithValue([]byte("first")))
		term := mustCampaign(t, e)
		ctx, cancel := context.WithCancel(harness.Context(t))
		kept := make(chan *pb.TxnRequest, 1)
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, e.Prefix()) {
				kept <- req.(*pb.TxnRequest)
				cancel()
				return harness.ErrDown
			}
			return call()
		})
		require.ErrorIs(t, term.Proclaim(ctx, []byte("late")), context.Canceled)
		faults.Mend()
		mustResign(t, term)
		require.ErrorIs(t, term.Proclaim(harness.Context(t), []byte("too late")), election.ErrResigned)
		again := mustCampaign(t, e)
		require.False(t, deliver(t, c, harness.Got(t, kept)).Succeeded)
		leader, err := e.Leader(harness.Context(t))
		require.NoError(t, err)
		require.Equal(t, "first", string(leader.Value))
		mustResign(t, again)
	})
}

func TestAnEarlierProclamationNeverOverwritesALaterOne(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		e := election.New(c.SessionOn(t, client), harness.Name(t))
		term := mustCampaign(t, e)
		ctx, cancel := context.WithCancel(harness.Context(t))
		kept := make(chan *pb.TxnRequest, 1)
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, e.Prefix()) {
				kept <- req.(*pb.TxnRequest)
				cancel()
				return harness.ErrDown
			}
			return call()
		})
		require.ErrorIs(t, term.Proclaim(ctx, []byte("old")), context.Canceled)

		faults.OnCall(once(func(req any) bool { return harness.Creates(req, e.Prefix()) }))
		seen := observe(t, e.Observe(harness.Context(t)))
		seen.sees(election.Elected, term.Token(), "")
		require.NoError(t, term.Proclaim(harness.Context(t), []byte("new")), "its answer was lost, and it was repeated")
		require.False(t, deliver(t, c, harness.Got(t, kept)).Succeeded)
		leader, err := e.Leader(harness.Context(t))
		require.NoError(t, err)
		require.Equal(t, "new", string(leader.Value))
		seen.sees(election.Changed, term.Token(), "new")
		require.NoError(t, term.Proclaim(harness.Context(t), []byte("last")))
		seen.sees(election.Changed, term.Token(), "last") // once each
		mustResign(t, term)
	})
}

func TestALeaderWhoseKeyIsDeletedByHandIsTold(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		e := election.New(c.Session(t, session.WithTTL(time.Second)), harness.Name(t))
		term := mustCampaign(t, e)
		_, err := c.Client().Delete(harness.Context(t), term.Key())
		require.NoError(t, err)
		var deleted *session.KeyError
		require.ErrorAs(t, term.Proclaim(harness.Context(t), nil), &deleted)
		cause := harness.Ended(t, term.Context())
		require.ErrorIs(t, cause, election.ErrLost)
		require.ErrorAs(t, cause, &deleted)
		require.ErrorIs(t, term.Resign(harness.Context(t)), election.ErrLost)
		require.ErrorIs(t, term.Transfer(harness.Context(t), "x"), election.ErrLost)
		mustResign(t, mustCampaign(t, e))
	})
}

func TestEveryWayToNameAnElectionIsTheSameElection(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		byName := election.New(c.Session(t, session.WithName("by name")), name)
		byKey := election.New(c.Session(t, session.WithName("by key")), "any", election.AtKey("/tenure/elections/"+name))
		require.Equal(t, byName.Prefix(), byKey.Prefix())
		term := mustCampaign(t, byKey)
		standing := campaignLater(harness.Context(t), byName)
		c.AwaitKeys(t, byName.Prefix(), 2)
		list, err := byKey.Candidates(harness.Context(t))
		require.NoError(t, err)
		require.Equal(t, "by key", list[0].Name)
		require.Equal(t, "by name", list[1].Name)
		require.NoError(t, term.Transfer(harness.Context(t), "by name"))
		mustResign(t, mustWin(t, standing))

		// And no name takes part in another's.
		for _, other := range []string{name + "/b", name + "b", name + "/", "/" + name} {
			below := mustCampaign(t, election.New(c.Session(t), other))
			mustResign(t, mustCampaign(t, byName))
			mustResign(t, below)
		}
	})
}

func TestAnotherProgramOnTheSameLeaseIsNotTakenForTheCandidate(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s := c.Session(t)
		e := election.New(s, harness.Name(t))
		term := mustCampaign(t, e)
		mustResign(t, term)
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		_, err = c.Client().Put(harness.Context(t), term.Key(), "somebody else's", clientv3.WithLease(epoch.Lease()))
		require.NoError(t, err)
		_, err = e.Campaign(harness.Context(t))
		require.ErrorIs(t, err, election.ErrShared)
		require.Len(t, c.Keys(t, e.Prefix()), 1, "it is left alone")
	})
}

func TestAResignationWakesOneCandidateHoweverManyStand(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		leader := election.New(c.Session(t), name)
		term := mustCampaign(t, leader)
		const candidates = 15
		var watches atomic.Int64
		results := make([]<-chan elected, candidates)
		for i := range candidates {
			client, faults := c.Dial(t)
			s := c.SessionOn(t, client)
			faults.OnSend(func(msg any) {
				req, ok := msg.(*pb.WatchRequest)
				if watch := req.GetCreateRequest(); ok && strings.Contains(string(watch.GetKey()), name) {
					require.Empty(t, watch.RangeEnd, "a candidate watches one key")
					require.Contains(t, watch.Filters, pb.WatchCreateRequest_NOPUT, "a proclamation wakes nobody")
					require.Zero(t, watch.StartRevision, "the watch began in the past")
					watches.Add(1)
				}
			})
			results[i] = campaignLater(harness.Context(t), election.New(s, name))
			c.AwaitKeys(t, leader.Prefix(), i+2)
		}
		mustResign(t, term)
		for _, result := range results {
			mustResign(t, mustWin(t, result))
		}
		require.EqualValues(t, candidates, watches.Load(), "one watch for each candidate")
	})
}
