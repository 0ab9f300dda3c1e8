package conformance

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/election"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/session"
)

// elected is what a goroutine that called Campaign sends back.
type elected struct {
	term *election.Term
	err  error
}

// campaignLater calls Campaign in a goroutine.
func campaignLater(ctx context.Context, e *election.Election) <-chan elected {
	result := make(chan elected, 1)
	go func() {
		term, err := e.Campaign(ctx)
		result <- elected{term, err}
	}()
	return result
}

func mustCampaign(t *testing.T, e *election.Election) *election.Term {
	t.Helper()
	term, err := e.Campaign(harness.Context(t))
	require.NoError(t, err)
	return term
}

func mustWin(t *testing.T, result <-chan elected) *election.Term {
	t.Helper()
	got := harness.Got(t, result)
	require.NoError(t, got.err)
	return got.term
}

func mustResign(t *testing.T, term *election.Term) {
	t.Helper()
	require.NoError(t, term.Resign(harness.Context(t)))
}

// candidacies are the keys of everybody who stands, descriptions included.
func candidacies(t *testing.T, c *harness.Cluster, e *election.Election) []string {
	t.Helper()
	about := strings.Replace(e.Prefix(), "/elections/", "/candidates/", 1)
	return append(c.Keys(t, e.Prefix()), c.Keys(t, about)...)
}

func TestOneCandidateLeadsAndTheNextFollows(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first := election.New(c.Session(t), name, election.WithValue([]byte("first")))
		second := election.New(c.Session(t), name, election.WithValue([]byte("second")))
		_, err := second.Leader(harness.Context(t))
		require.ErrorIs(t, err, election.ErrNoLeader)

		term := mustCampaign(t, first)
		require.True(t, term.Valid())
		require.Positive(t, term.Remaining())
		require.NoError(t, term.Context().Err())
		leader, err := second.Leader(harness.Context(t))
		require.NoError(t, err)
		require.Equal(t, "first", string(leader.Value))
		require.Equal(t, term.Token(), leader.Token)

		standing := campaignLater(harness.Context(t), second)
		c.AwaitKeys(t, first.Prefix(), 2)
		mustResign(t, term)
		require.False(t, term.Valid())
		require.Zero(t, term.Remaining())
		require.ErrorIs(t, context.Cause(term.Context()), election.ErrResigned)

		next := mustWin(t, standing)
		require.Greater(t, next.Token(), term.Token())
		mustResign(t, next)
		mustResign(t, next) // it can be repeated
		require.Empty(t, candidacies(t, c, first))
	})
}

func TestRunCampaignsAgainAfterALossAndReturnsWhatTheWorkReturns(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s := c.Session(t, session.WithTTL(time.Minute))
		e := election.New(s, harness.Name(t))
		failure := errors.New("the work failed")
		terms := 0
		err := e.Run(harness.Context(t), func(ctx context.Context, term *election.Term) error {
			terms++
			if terms == 2 {
				return failure
			}
			epoch, err := s.Epoch(ctx)
			require.NoError(t, err)
			_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
			require.NoError(t, err)
			require.ErrorIs(t, harness.Ended(t, ctx), election.ErrLost)
			require.ErrorIs(t, term.Resign(harness.Context(t)), election.ErrLost)
			return errors.New("not looked at")
		})
		require.ErrorIs(t, err, failure)
		require.Equal(t, 2, terms)
		require.Empty(t, candidacies(t, c, e))
	})
}

func TestRunEndsWithItsContextAfterTheWork(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		e := election.New(c.Session(t), harness.Name(t))
		ctx, cancel := context.WithCancelCause(harness.Context(t))
		reason := errors.New("time to go")
		returned := false
		err := e.Run(ctx, func(ctx context.Context, term *election.Term) error {
			cancel(reason)
			require.ErrorIs(t, harness.Ended(t, ctx), reason)
			require.True(t, term.Valid(), "the term is given up only after the work")
			require.Len(t, c.Keys(t, e.Prefix()), 1)
			returned = true
			return nil
		})
		require.ErrorIs(t, err, reason)
		require.True(t, returned)
		require.Empty(t, candidacies(t, c, e))
		require.ErrorIs(t, e.Run(ctx, nil), reason, "and does not begin after it")
	})
}

func TestAPanicInTheWorkGivesTheTermUpAndGoesOn(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		e := election.New(c.Session(t), harness.Name(t))
		require.PanicsWithValue(t, "boom", func() {
			_ = e.Run(harness.Context(t), func(context.Context, *election.Term) error { panic("boom") })
		})
		require.Empty(t, candidacies(t, c, e))
	})
}

func TestTheTermIsGivenUpOnlyAfterTheWorkHasReturned(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first, second := election.New(c.Session(t), name), election.New(c.Session(t), name)
		ctx, stop := context.WithCancel(harness.Context(t))
		terms := make(chan *election.Term)
		leave := make(chan struct{})
		ran := make(chan error, 1)
		go func() {
			ran <- first.Run(ctx, func(ctx context.Context, term *election.Term) error {
				terms <- term
				<-leave
				return nil
			})
		}()
		term := harness.Got(t, terms)
		standing := campaignLater(harness.Context(t), second)
		c.AwaitKeys(t, first.Prefix(), 2)

		resigned := make(chan error, 1)
		go func() { resigned <- term.Resign(harness.Context(t)) }()
		require.ErrorIs(t, harness.Ended(t, term.Context()), election.ErrResigned)
		short, cancel := context.WithTimeout(harness.Context(t), 50*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, term.Resign(short), election.ErrPending, "it can be asked again, and waits")
		require.Len(t, c.Keys(t, first.Prefix()), 2, "the work is still running")
		close(leave)
		require.NoError(t, harness.Got(t, resigned))

		next := mustWin(t, standing)
		c.AwaitKeys(t, first.Prefix(), 2) // the first one stands again
		stop()
		require.ErrorIs(t, harness.Got(t, ran), context.Canceled)
		mustResign(t, next)
		require.Empty(t, candidacies(t, c, first))
	})
}

func TestTheWorkMayResignAndThenStandsAgain(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		e := election.New(c.Session(t), harness.Name(t))
		var tokens []int64
		err := e.Run(harness.Context(t), func(ctx context.Context, term *election.Term) error {
			tokens = append(tokens, term.Token())
			if len(tokens) < 3 {
				require.NoError(t, term.Resign(ctx), "with the work's own context it does not wait")
				require.Len(t, c.Keys(t, e.Prefix()), 1)
			}
			return nil
		})
		require.NoError(t, err)
		require.Len(t, tokens, 3)
		require.IsIncreasing(t, tokens)
	})
}

func TestASessionStandsOnceAtATime(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s, name := c.Session(t), harness.Name(t)
		term := mustCampaign(t, election.New(s, name))
		again := election.New(s, name)
		short, cancel := context.WithTimeout(harness.Context(t), 20*time.Millisecond)
		defer cancel()
		_, err := again.Campaign(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		behind := campaignLater(harness.Context(t), again)
		require.Len(t, c.Keys(t, again.Prefix()), 1)
		mustResign(t, term)
		next := mustWin(t, behind)
		require.Greater(t, next.Token(), term.Token())
		mustResign(t, next)
	})
}

func TestOnlyTheLeaderPassesItsGuard(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		e := election.New(c.Session(t), harness.Name(t))
		term := mustCampaign(t, e)
		guard := term.Guard()
		write := func(guard []clientv3.Cmp) bool {
			resp, err := c.Client().Txn(harness.Context(t)).If(guard...).Then(clientv3.OpPut("/data/guard", "x")).Commit()
			require.NoError(t, err)
			return resp.Succeeded
		}
		require.True(t, write(guard))
		mustResign(t, term)
		require.False(t, write(guard))
		require.False(t, write(term.Guard()))
		next := mustCampaign(t, e)
		require.False(t, write(guard), "the same key leads again, in another term")
		require.True(t, write(next.Guard()))
		mustResign(t, next)
	})
}

func TestElectionsThatCannotBeUsedSayWhy(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s := c.Session(t)
		for want, elections := range map[error][]*election.Election{
			election.ErrName: {
				election.New(s, ""),
				election.New(s, strings.Repeat("x", 1025)),
				election.New(s, "any", election.AtKey("//")),
			},
			election.ErrOption: {
				election.New(s, "any", election.WithHealth(election.Health{})),
				election.New(s, "any", election.WithPriority(election.Priority{After: -1})),
			},
		} {
			for _, e := range elections {
				_, err := e.Campaign(harness.Context(t))
				require.ErrorIs(t, err, want)
				require.ErrorIs(t, e.Run(harness.Context(t), nil), want)
				_, err = e.Leader(harness.Context(t))
				require.ErrorIs(t, err, want)
				_, err = e.Candidates(harness.Context(t))
				require.ErrorIs(t, err, want)
			}
		}
	})
}

func TestClosingTheSessionWaitsForTheWorkOfATerm(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s := c.Session(t)
		e := election.New(s, harness.Name(t))
		started := make(chan struct{})
		ran := make(chan error, 1)
		worked := false
		go func() {
			ran <- e.Run(harness.Context(t), func(ctx context.Context, _ *election.Term) error {
				close(started)
				require.ErrorIs(t, harness.Ended(t, ctx), session.ErrClosed)
				worked = true
				return nil
			})
		}()
		harness.Got(t, started)
		require.NoError(t, s.Close(harness.Context(t)))
		require.True(t, worked)
		require.ErrorIs(t, harness.Got(t, ran), session.ErrClosed)
		require.Empty(t, candidacies(t, c, e))
	})
}
