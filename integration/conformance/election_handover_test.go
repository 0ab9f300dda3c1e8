package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/election"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/session"
)

// lineUp returns a term and candidates of those names who stand behind it in
// that order.
func lineUp(t *testing.T, c *harness.Cluster, name string, standing ...string) (*election.Term, map[string]<-chan elected) {
	t.Helper()
	leader := election.New(c.Session(t, session.WithName("leader")), name)
	term := mustCampaign(t, leader)
	results := make(map[string]<-chan elected)
	for i, who := range standing {
		e := election.New(c.Session(t, session.WithName(who)), name)
		results[who] = campaignLater(harness.Context(t), e)
		c.AwaitKeys(t, leader.Prefix(), i+2)
	}
	return term, results
}

// follow resigns one term after the other and expects that order.
func follow(t *testing.T, term *election.Term, results map[string]<-chan elected, order ...string) {
	t.Helper()
	for _, who := range order {
		before := term.Token()
		mustResign(t, term)
		term = mustWin(t, results[who])
		require.Greater(t, term.Token(), before)
	}
	mustResign(t, term)
}

func TestALeaderHandsOverToTheCandidateThatItNames(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		term, results := lineUp(t, c, name, "a", "b", "c")
		o := election.NewObserver(c.Client(), "", name)
		seen := observe(t, o.Observe(harness.Context(t)))
		seen.sees(election.Elected, term.Token(), "")

		require.NoError(t, term.Transfer(harness.Context(t), "b"))
		require.False(t, term.Valid())
		require.ErrorIs(t, context.Cause(term.Context()), election.ErrTransferred)
		next := mustWin(t, results["b"])
		seen.sees(election.Elected, next.Token(), "") // and nobody in between
		require.NoError(t, term.Transfer(harness.Context(t), "b"), "it can be repeated")
		require.ErrorIs(t, term.Transfer(harness.Context(t), "c"), election.ErrTransferred)
		require.NoError(t, term.Resign(harness.Context(t)))
		require.ErrorIs(t, term.Proclaim(harness.Context(t), nil), election.ErrTransferred)

		c.AwaitKeys(t, "/tenure/elections/"+name+"/", 3) // a was moved and stands again, behind c
		follow(t, next, results, "c", "a")
		require.Empty(t, c.Keys(t, "/tenure/elections/"+name+"/"))
		require.Empty(t, c.Keys(t, "/tenure/candidates/"+name+"/"))
	})
}

func TestATransferToWhoDoesNotStandChangesNothing(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		term, results := lineUp(t, c, harness.Name(t), "a")
		for _, who := range []string{"x", "leader", ""} {
			require.ErrorIs(t, term.Transfer(harness.Context(t), who), election.ErrNotStanding, who)
			require.True(t, term.Valid())
		}
		dead, cancel := context.WithCancel(context.Background())
		cancel()
		require.ErrorIs(t, term.Transfer(dead, "a"), context.Canceled)
		require.True(t, term.Valid(), "cancelled before it began")
		follow(t, term, results, "a")
	})
}

func TestATransferToACandidateThatLeavesAtTheLastMomentElectsTheNext(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		leader := election.New(c.SessionOn(t, client), name)
		term := mustCampaign(t, leader)
		ctx, leave := context.WithCancel(harness.Context(t))
		stays := election.New(c.Session(t, session.WithName("stays")), name)
		staying := campaignLater(harness.Context(t), stays)
		c.AwaitKeys(t, leader.Prefix(), 2)
		leaves := campaignLater(ctx, election.New(c.Session(t, session.WithName("leaves")), name))
		c.AwaitKeys(t, leader.Prefix(), 3)

		faults.OnCall(func(req any, call func() error) error {
			if harness.Deletes(req, leader.Prefix()) && ctx.Err() == nil {
				leave()
				<-leaves
				c.AwaitKeys(t, leader.Prefix(), 2)
			}
			return call()
		})
		require.ErrorIs(t, term.Transfer(harness.Context(t), "leaves"), election.ErrNotStanding)
		require.False(t, term.Valid())
		mustResign(t, mustWin(t, staying))
	})
}

func TestATransferWhoseAnswerWasLostIsATransfer(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		leader := election.New(c.SessionOn(t, client), name)
		term := mustCampaign(t, leader)
		a := campaignLater(harness.Context(t), election.New(c.Session(t, session.WithName("a")), name))
		c.AwaitKeys(t, leader.Prefix(), 2)
		b := campaignLater(harness.Context(t), election.New(c.Session(t, session.WithName("b")), name))
		c.AwaitKeys(t, leader.Prefix(), 3)
		faults.OnCall(once(func(req any) bool { return harness.Deletes(req, leader.Prefix()) }))
		require.NoError(t, term.Transfer(harness.Context(t), "b"))
		next := mustWin(t, b)
		c.AwaitKeys(t, leader.Prefix(), 2)
		mustResign(t, next)
		mustResign(t, mustWin(t, a))
	})
}

func TestATransferIsOverWithTheLease(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		leader := election.New(c.SessionOn(t, client, session.WithTTL(time.Second)), name)
		term := mustCampaign(t, leader)
		heir := campaignLater(harness.Context(t), election.New(c.Session(t, session.WithName("heir")), name))
		c.AwaitKeys(t, leader.Prefix(), 2)
		faults.OnCall(func(req any, call func() error) error {
			if harness.Deletes(req, leader.Prefix()) {
				faults.Cut()
				return harness.ErrDown
			}
			return call()
		})
		require.Error(t, term.Transfer(harness.Context(t), "heir")) // ends before its context
		require.False(t, term.Valid())
		mustResign(t, mustWin(t, heir)) // when the lease has run out
		faults.Mend()
	})
}

func TestTransferInRunWaitsForTheWork(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		leader := election.New(c.Session(t, session.WithName("leader")), name)
		terms, leave := make(chan *election.Term), make(chan struct{})
		ctx, stop := context.WithCancel(harness.Context(t))
		ran := make(chan error, 1)
		go func() {
			ran <- leader.Run(ctx, func(ctx context.Context, term *election.Term) error {
				terms <- term
				<-leave
				return nil
			})
		}()
		term := harness.Got(t, terms)
		a := campaignLater(harness.Context(t), election.New(c.Session(t, session.WithName("a")), name))
		c.AwaitKeys(t, leader.Prefix(), 2)
		b := campaignLater(harness.Context(t), election.New(c.Session(t, session.WithName("b")), name))
		c.AwaitKeys(t, leader.Prefix(), 3)

		transferred := make(chan error, 1)
		go func() { transferred <- term.Transfer(harness.Context(t), "b") }()
		require.ErrorIs(t, harness.Ended(t, term.Context()), election.ErrTransferred)
		require.Len(t, c.Keys(t, leader.Prefix()), 3, "the work is still running")
		close(leave)
		require.NoError(t, harness.Got(t, transferred))
		next := mustWin(t, b)
		c.AwaitKeys(t, leader.Prefix(), 3) // both that were ahead stand again
		stop()
		require.ErrorIs(t, harness.Got(t, ran), context.Canceled)
		mustResign(t, next)
		mustResign(t, mustWin(t, a))
	})
}

func TestATransferMovesMoreCandidatesThanATransactionTakes(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		var standing []string
		for i := range 70 {
			standing = append(standing, fmt.Sprint(i))
		}
		standing = append(standing, "heir")
		term, results := lineUp(t, c, name, standing...)
		require.NoError(t, term.Transfer(harness.Context(t), "heir"))
		next := mustWin(t, results["heir"])
		c.AwaitKeys(t, "/tenure/elections/"+name+"/", len(standing))
		list, err := election.NewObserver(c.Client(), "", name).Candidates(harness.Context(t))
		require.NoError(t, err)
		require.Len(t, list, len(standing), "all stand again")
		require.Equal(t, next.Token(), list[0].Token)
		mustResign(t, next)
	})
}

// A candidate that is ahead of everybody but the leader wakes when the leader's
// key is gone, and its own has gone with it.
func TestACandidateWhoseKeyWasMovedIsNotElected(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		for range 5 {
			term, results := lineUp(t, c, harness.Name(t), "first", "heir")
			require.NoError(t, term.Transfer(harness.Context(t), "heir"))
			next := mustWin(t, results["heir"])
			select {
			case got := <-results["first"]:
				require.FailNow(t, "two lead", "%v, %v", got.term, got.err)
			case <-next.Context().Done():
			default:
			}
			require.True(t, next.Valid())
			mustResign(t, next)
			mustResign(t, mustWin(t, results["first"]))
		}
	})
}

func TestABetterCandidateTakesOver(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		rank := func(who string, rank int, wait bool) *election.Election {
			return election.New(c.Session(t, session.WithName(who)), name, election.WithPriority(
				election.Priority{Rank: rank, Wait: wait, After: 50 * time.Millisecond}))
		}
		low := rank("low", 1, false)
		works := make(chan *election.Term, 10)
		ctx, stop := context.WithCancel(harness.Context(t))
		ran := make(chan error, 1)
		go func() {
			ran <- low.Run(ctx, func(ctx context.Context, term *election.Term) error {
				works <- term
				<-ctx.Done()
				return nil
			})
		}()
		term := harness.Got(t, works)
		equal := campaignLater(harness.Context(t), rank("equal", 1, false))
		c.AwaitKeys(t, low.Prefix(), 2)
		patient := campaignLater(harness.Context(t), rank("patient", 9, true))
		c.AwaitKeys(t, low.Prefix(), 3)
		better := campaignLater(harness.Context(t), rank("better", 2, false))

		require.ErrorIs(t, harness.Ended(t, term.Context()), election.ErrPreempted)
		// It is because of the better one, but the best one gets it.
		next := mustWin(t, patient)
		mustResign(t, next)
		next = mustWin(t, better)       // and not the equal one, who came before
		c.AwaitKeys(t, low.Prefix(), 3) // those that were moved stand again
		stop()
		require.ErrorIs(t, harness.Got(t, ran), context.Canceled)
		mustResign(t, next)
		mustResign(t, mustWin(t, equal))
		require.Empty(t, candidacies(t, c, low))
	})
}

func TestAPatientCandidateWaitsForTheHandOver(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		rank := func(rank int, wait bool) *election.Election {
			return election.New(c.Session(t), name, election.WithPriority(
				election.Priority{Rank: rank, Wait: wait, After: time.Millisecond}))
		}
		low := rank(1, false)
		term := mustCampaign(t, low)
		worse := campaignLater(harness.Context(t), rank(0, false))
		c.AwaitKeys(t, low.Prefix(), 2)
		patient := campaignLater(harness.Context(t), rank(9, true))
		c.AwaitKeys(t, low.Prefix(), 3)
		select {
		case <-term.Context().Done():
			require.FailNow(t, "it did not wait")
		case <-time.After(200 * time.Millisecond): // many times After
		}
		mustResign(t, term)
		next := mustWin(t, patient)
		c.AwaitKeys(t, low.Prefix(), 2)
		mustResign(t, next)
		mustResign(t, mustWin(t, worse))
	})
}

func TestAnUnhealthyLeaderResignsAndStandsAgainWhenItIsWell(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		var sick atomic.Bool
		var checks atomic.Int64
		pain := errors.New("no disk")
		e := election.New(c.Session(t), name, election.WithHealth(election.Health{
			Every: 5 * time.Millisecond, Failures: 3,
			Check: func(context.Context) error {
				if sick.Load() {
					checks.Add(1)
					return pain
				}
				return nil
			}}))
		works := make(chan *election.Term)
		ctx, stop := context.WithCancel(harness.Context(t))
		ran := make(chan error, 1)
		go func() {
			ran <- e.Run(ctx, func(ctx context.Context, term *election.Term) error {
				works <- term
				<-ctx.Done()
				return nil
			})
		}()
		term := harness.Got(t, works)
		other := campaignLater(harness.Context(t), election.New(c.Session(t), name))
		c.AwaitKeys(t, e.Prefix(), 2)
		sick.Store(true)
		cause := harness.Ended(t, term.Context())
		require.ErrorIs(t, cause, election.ErrUnhealthy)
		require.ErrorIs(t, cause, pain)
		require.GreaterOrEqual(t, checks.Load(), int64(3))
		next := mustWin(t, other)
		require.Len(t, c.Keys(t, e.Prefix()), 1, "it does not stand while it is not well")
		sick.Store(false)
		c.AwaitKeys(t, e.Prefix(), 2)

		// It steps back from the queue as well.
		sick.Store(true)
		c.AwaitKeys(t, e.Prefix(), 1)
		sick.Store(false)
		mustResign(t, next)
		harness.Got(t, works)
		stop()
		require.ErrorIs(t, harness.Got(t, ran), context.Canceled)
		require.Empty(t, candidacies(t, c, e))
	})
}

func TestACandidateThatIsNeverWellNeverStands(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		pain := errors.New("no disk")
		e := election.New(c.Session(t), harness.Name(t), election.WithHealth(election.Health{
			Every: time.Millisecond, Check: func(context.Context) error { return pain }}))
		short, cancel := context.WithTimeout(harness.Context(t), 50*time.Millisecond)
		defer cancel()
		_, err := e.Campaign(short)
		require.ErrorIs(t, err, election.ErrUnhealthy)
		require.ErrorIs(t, err, pain)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Empty(t, candidacies(t, c, e))
	})
}

func TestATermThatACheckEndedIsOverInEtcdOnlyWhenItIsResigned(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		var sick atomic.Bool
		e := election.New(c.Session(t), harness.Name(t), election.WithHealth(election.Health{
			Every: time.Millisecond, Failures: 1, Check: func(context.Context) error {
				if sick.Load() {
					return errors.New("no disk")
				}
				return nil
			}}))
		term := mustCampaign(t, e)
		sick.Store(true)
		require.ErrorIs(t, harness.Ended(t, term.Context()), election.ErrUnhealthy)
		require.False(t, term.Valid())
		resp, err := c.Client().Txn(harness.Context(t)).If(term.Guard()...).Then(clientv3.OpGet("x")).Commit()
		require.NoError(t, err)
		require.False(t, resp.Succeeded)
		require.Len(t, c.Keys(t, e.Prefix()), 1, "whoever has the term may still be working")
		mustResign(t, term)
		require.Empty(t, candidacies(t, c, e))
	})
}
