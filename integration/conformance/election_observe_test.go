package conformance

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/election"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/session"
)

// observed pulls the events of an observation one by one.
type observed struct {
	t    *testing.T
	next func() (election.Event, error, bool)
}

func observe(t *testing.T, events iter.Seq2[election.Event, error]) *observed {
	next, stop := iter.Pull2(events)
	t.Cleanup(stop)
	return &observed{t, next}
}

func (o *observed) event() election.Event {
	o.t.Helper()
	ev, err, ok := o.next()
	require.True(o.t, ok)
	require.NoError(o.t, err)
	return ev
}

// sees expects an event of the term, or of nobody's.
func (o *observed) sees(kind election.Kind, token int64, value string) election.Event {
	o.t.Helper()
	ev := o.event()
	require.Equal(o.t, kind, ev.Kind, "%v", ev)
	require.Equal(o.t, token, ev.Token, "%v", ev)
	require.Equal(o.t, value, string(ev.Value), "%v", ev)
	return ev
}

func TestAnObserverIsToldOfEveryTermValueAndVacancy(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		e := election.New(c.Session(t), name, election.WithValue([]byte("here")))
		other := election.New(c.Session(t), name, election.WithValue([]byte("there")))
		seen := observe(t, election.NewObserver(c.Client(), "", name).Observe(harness.Context(t)))
		seen.sees(election.Vacant, 0, "")

		term := mustCampaign(t, e)
		seen.sees(election.Elected, term.Token(), "here")
		require.NoError(t, term.Proclaim(harness.Context(t), []byte("moved")))
		seen.sees(election.Changed, term.Token(), "moved")
		standing := campaignLater(harness.Context(t), other)
		c.AwaitKeys(t, e.Prefix(), 2)
		mustResign(t, term)
		next := mustWin(t, standing)
		seen.sees(election.Elected, next.Token(), "there")

		late := observe(t, e.Observe(harness.Context(t)))
		late.sees(election.Elected, next.Token(), "there")
		mustResign(t, next)
		seen.sees(election.Vacant, 0, "")
		late.sees(election.Vacant, 0, "")
	})
}

// Each term is over long before anybody can have asked about it.
func TestAnObserverSkipsNoShortTerm(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		prefix := "/tenure/elections/" + name + "/"
		seen := observe(t, election.NewObserver(c.Client(), "", name).Observe(harness.Context(t)))
		seen.sees(election.Vacant, 0, "")
		client, _ := c.Dial(t)
		var tokens []int64
		for i := range 50 {
			for _, key := range []string{"a", "b"} {
				tokens = append(tokens, put(t, c, prefix+key, fmt.Sprint(i)))
			}
			for _, key := range []string{"a", "b"} {
				_, err := client.Delete(harness.Context(t), prefix+key)
				require.NoError(t, err)
			}
		}
		for i, token := range tokens {
			seen.sees(election.Elected, token, fmt.Sprint(i/2))
			if i%2 == 1 {
				seen.sees(election.Vacant, 0, "")
			}
		}
	})
}

func TestAnObserverGoesOnWhereItStopped(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		e := election.New(c.Session(t), harness.Name(t))
		var tokens []int64
		for range 3 {
			term := mustCampaign(t, e)
			tokens = append(tokens, term.Token())
			mustResign(t, term)
		}
		seen := observe(t, e.Observe(harness.Context(t), election.After(tokens[0])))
		seen.sees(election.Vacant, 0, "")
		seen.sees(election.Elected, tokens[1], "")
		seen.sees(election.Vacant, 0, "")
		seen.sees(election.Elected, tokens[2], "")
		last := seen.sees(election.Vacant, 0, "")

		_, err := c.Client().Compact(harness.Context(t), last.Revision)
		require.NoError(t, err)
		again := observe(t, e.Observe(harness.Context(t), election.After(last.Revision)))
		forgotten := observe(t, e.Observe(harness.Context(t), election.After(tokens[0])))
		require.Equal(t, tokens[0], forgotten.sees(election.Gap, 0, "").Revision)
		forgotten.sees(election.Vacant, 0, "")
		term := mustCampaign(t, e)
		again.sees(election.Elected, term.Token(), "")
		forgotten.sees(election.Elected, term.Token(), "")
		mustResign(t, term)
	})
}

func TestAnObserverSurvivesABrokenConnection(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		e := election.New(c.Session(t), name)
		client, faults := c.Dial(t)
		seen := observe(t, election.NewObserver(client, "", name).Observe(harness.Context(t)))
		seen.sees(election.Vacant, 0, "")
		for range 3 {
			faults.OnStream(func(string) error { return harness.ErrDown })
			faults.Break()
			term := mustCampaign(t, e) // begun and over while nobody can see it
			mustResign(t, term)
			faults.OnStream(nil)
			seen.sees(election.Elected, term.Token(), "")
			seen.sees(election.Vacant, 0, "")
		}
	})
}

func TestAnObserverIsToldWhatACompactionHidFromIt(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		e := election.New(c.Session(t), name)
		client, faults := c.Dial(t)
		seen := observe(t, election.NewObserver(client, "", name).Observe(harness.Context(t)))
		seen.sees(election.Vacant, 0, "")
		faults.OnStream(func(string) error { return harness.ErrDown })
		faults.Break()
		mustResign(t, mustCampaign(t, e))
		term := mustCampaign(t, e)
		now := put(t, c, "/noise", "")
		_, err := c.Client().Compact(harness.Context(t), now)
		require.NoError(t, err)
		faults.OnStream(nil)
		seen.sees(election.Gap, 0, "")
		seen.sees(election.Elected, term.Token(), "")
		mustResign(t, term)
		seen.sees(election.Vacant, 0, "")
	})
}

func TestASlowObserverIsToldOfTheGapAndCostsNoMemory(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		e := election.New(c.Session(t), harness.Name(t))
		slow, quick := observe(t, e.Observe(harness.Context(t))), observe(t, e.Observe(harness.Context(t)))
		slow.sees(election.Vacant, 0, "")
		quick.sees(election.Vacant, 0, "")
		term := mustCampaign(t, e)
		slow.sees(election.Elected, term.Token(), "")
		quick.sees(election.Elected, term.Token(), "")
		const changes = 1100 // more than are remembered
		for i := range changes {
			require.NoError(t, term.Proclaim(harness.Context(t), []byte(fmt.Sprint(i))))
			quick.sees(election.Changed, term.Token(), fmt.Sprint(i))
		}
		require.Equal(t, term.Token(), slow.sees(election.Gap, 0, "").Revision, "up to there it knows everything")
		slow.sees(election.Changed, term.Token(), fmt.Sprint(changes-1))
		mustResign(t, term)
		slow.sees(election.Vacant, 0, "")
	})
}

func TestObserversOfOneClientShareAWatch(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		e := election.New(c.Session(t), name)
		client, faults := c.Dial(t)
		var watches atomic.Int64
		faults.OnSend(func(msg any) {
			req, ok := msg.(*pb.WatchRequest)
			if ok && strings.HasPrefix(string(req.GetCreateRequest().GetKey()), e.Prefix()) {
				watches.Add(1)
			}
		})
		const observers = 100
		var ready, ended sync.WaitGroup
		ctx, stop := context.WithCancel(harness.Context(t))
		ready.Add(observers)
		told := make(chan election.Event, 10*observers)
		for range observers {
			ended.Go(func() {
				first := true
				for ev, err := range election.NewObserver(client, "", name).Observe(ctx) {
					if err != nil {
						return
					}
					if first {
						ready.Done()
					}
					first = false
					told <- ev
				}
			})
		}
		ready.Wait()
		term := mustCampaign(t, e)
		tokens := map[int64]int{}
		for range 2 * observers {
			tokens[harness.Got(t, told).Token]++
		}
		require.Equal(t, map[int64]int{0: observers, term.Token(): observers}, tokens)
		require.EqualValues(t, 1, watches.Load())
		stop()
		ended.Wait()
		mustResign(t, term)
		require.Empty(t, slices.DeleteFunc(harness.Goroutines(), func(stack string) bool {
			return !strings.Contains(stack, "election.(*hub)")
		}), "the last one has ended the watch")
	})
}

func TestAnObservationEndsWithAReason(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		ctx, cancel := context.WithCancel(harness.Context(t))
		name := harness.Name(t)
		client, _ := c.Dial(t)
		for _, opts := range [][]election.ObserveOption{nil, {election.After(1)}} {
			next, stop := iter.Pull2(election.NewObserver(client, "", name).Observe(ctx, opts...))
			defer stop()
			if opts == nil {
				_, err, _ := next()
				require.NoError(t, err)
			}
			defer func() {
				_, err, ok := next()
				require.True(t, ok)
				require.ErrorIs(t, err, context.Canceled)
				_, _, ok = next()
				require.False(t, ok)
			}()
		}
		cancel()

		_, err, _ := observe(t, election.NewObserver(client, "", "").Observe(ctx)).next()
		require.ErrorIs(t, err, election.ErrName)
		_, err, _ = observe(t, election.NewObserver(client, "//", name).Observe(ctx)).next()
		require.ErrorIs(t, err, election.ErrName)

		closed, err := c.NewClient()
		require.NoError(t, err)
		seen := observe(t, election.NewObserver(closed, "", name).Observe(harness.Context(t)))
		seen.event()
		require.NoError(t, closed.Close())
		_, err, _ = seen.next()
		require.ErrorContains(t, err, "client was closed")
	})
}

func TestCandidatesShowWhoLeadsAndWhoStands(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		first := election.New(c.Session(t, session.WithName("billing-1")), name, election.WithValue([]byte("one")))
		second := election.New(c.Session(t, session.WithName("billing-2")), name,
			election.WithPriority(election.Priority{Rank: 7, Wait: true}))
		list, err := first.Candidates(harness.Context(t))
		require.NoError(t, err)
		require.Empty(t, list)

		term := mustCampaign(t, first)
		standing := campaignLater(harness.Context(t), second)
		c.AwaitKeys(t, first.Prefix(), 2)
		put(t, c, first.Prefix()+"abc", "foreign")
		list, err = election.NewObserver(c.Client(), "", name).Candidates(harness.Context(t))
		require.NoError(t, err)
		require.Len(t, list, 3)
		require.Equal(t, "billing-1", list[0].Name)
		require.Equal(t, "one", string(list[0].Value))
		require.Equal(t, term.Token(), list[0].Token)
		require.Equal(t, "billing-2", list[1].Name)
		require.Equal(t, 7, list[1].Rank)
		require.True(t, list[1].Waits)
		for _, candidate := range list[:2] {
			require.NotEmpty(t, candidate.Host)
			require.Positive(t, candidate.PID)
			require.False(t, candidate.Since.IsZero())
			require.NotZero(t, candidate.Lease)
			require.False(t, candidate.Foreign)
		}
		require.True(t, list[2].Foreign)
		_, err = c.Client().Delete(harness.Context(t), first.Prefix()+"abc", clientv3.WithPrefix())
		require.NoError(t, err)
		mustResign(t, term)
		mustResign(t, mustWin(t, standing))
	})
}
