package conformance

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/leaderworker"
	"github.com/gotenure/tenure/session"
)

func TestWorkersShareTheShardsAndLeaveNothing(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(12))
		a := w.hire("a")
		w.shared(map[string]int{"a": 12})
		b := w.hire("b")
		w.shared(map[string]int{"a": 6, "b": 6})
		cc := w.hire("c")
		w.shared(map[string]int{"a": 4, "b": 4, "c": 4})
		a.leave()
		w.shared(map[string]int{"b": 6, "c": 6})
		b.leave()
		w.shared(map[string]int{"c": 12})
		cc.leave()
		require.Equal(t, []string{w.prefix() + "plan"}, c.Keys(t, w.prefix()))
	})
}

func TestSharesCapacitiesAndLabelsAreHeeded(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		eu := map[string]string{"zone": "eu"}
		shards := []leaderworker.ShardSpec{{Name: "x", Require: eu}, {Name: "y", Require: map[string]string{"zone": "mars"}}}
		for _, name := range []string{"1", "2", "3", "4", "5", "6"} {
			shards = append(shards, leaderworker.ShardSpec{Name: name})
		}
		w := newCrew(t, c, leaderworker.Listed(shards...))
		w.hire("a", func(c *leaderworker.Config) { c.Labels, c.Capacity = eu, 1 })
		w.hire("b")
		w.hire("c", func(c *leaderworker.Config) { c.Share = 2 })
		w.shared(map[string]int{"a": 1, "b": 2, "c": 4})
		w.until("what only a can have is at a", func(at map[string]string) bool { return at["x"] == "a" })
		pool := w.status()
		require.Equal(t, []leaderworker.Unplaced{{Shard: "y", Why: leaderworker.UnplacedLabels}}, pool.Unplaced)
	})
}

func TestShardsThatComeAndGo(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		news := make(chan []leaderworker.ShardSpec)
		refused := make(chan error, 1)
		w := newCrew(t, c, leaderworker.Changing(func(ctx context.Context, set func([]leaderworker.ShardSpec) error) error {
			for {
				select {
				case shards := <-news:
					if err := set(shards); err != nil {
						refused <- err
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}))
		w.hire("a")
		news <- []leaderworker.ShardSpec{{Name: "1"}, {Name: "2"}}
		w.shared(map[string]int{"a": 2})
		news <- []leaderworker.ShardSpec{{Name: "2"}, {Name: "2"}}
		require.ErrorIs(t, harness.Got(t, refused), leaderworker.ErrConfig)
		news <- []leaderworker.ShardSpec{{Name: "2"}, {Name: "3"}, {Name: "4"}}
		w.until("1 has gone, 3 and 4 have come", func(at map[string]string) bool {
			return len(at) == 3 && at["2"] == "a" && at["3"] == "a" && at["4"] == "a"
		})
		w.mu.Lock()
		defer w.mu.Unlock()
		require.Equal(t, 4, w.starts, "2 was not interrupted")
	})
}

func TestWorkThatFailsIsCalledAgainAndWorkThatIsDoneIsNot(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(2))
		calls := make(chan leaderworker.Shard, 100)
		failed := make(chan leaderworker.Failed, 100)
		var done atomic.Int64
		a := w.hire("a", func(c *leaderworker.Config) {
			c.Work = func(ctx context.Context, sh leaderworker.Shard) error {
				if sh.Number() == 0 {
					done.Add(1)
					return nil
				}
				calls <- sh
				return errors.New("broken")
			}
			c.Observer.Failed = func(f leaderworker.Failed) { failed <- f }
		})
		first, second := harness.Got(t, calls), harness.Got(t, calls)
		require.Equal(t, first.Token(), second.Token(), "it was owned all the time")
		require.EqualError(t, harness.Got(t, failed).Err, "broken")
		a.leave()
		require.EqualValues(t, 1, done.Load())
	})
}

func TestTheStatusShowsWhoHasWhatAndWhy(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(4))
		finish := make(chan struct{})
		a := w.hire("a", func(c *leaderworker.Config) {
			work := c.Work
			c.Work = func(ctx context.Context, sh leaderworker.Shard) error {
				err := work(ctx, sh)
				<-finish
				return err
			}
		})
		w.shared(map[string]int{"a": 4})
		w.hire("b", func(c *leaderworker.Config) { c.Labels = map[string]string{"zone": "eu"} })
		w.shared(map[string]int{"a": 2})
		pool := w.status()
		require.Equal(t, "a", pool.Leader)
		require.Len(t, pool.Workers, 2)
		require.Equal(t, "a", pool.Workers[0].Name)
		require.Equal(t, a.session.Name(), pool.Workers[0].Session)
		require.Equal(t, []int{2, 4}, []int{pool.Workers[0].Assigned, pool.Workers[0].Owned})
		require.Equal(t, []int{2, 0}, []int{pool.Workers[1].Assigned, pool.Workers[1].Owned})
		require.Equal(t, "eu", pool.Workers[1].Labels["zone"])
		require.Len(t, pool.Shards, 4)
		require.Len(t, pool.Moves, 2)
		for _, m := range pool.Moves {
			require.Equal(t, []string{"a", "b"}, []string{m.From, m.To})
			require.Equal(t, leaderworker.ReasonBalance, m.Why)
			require.True(t, m.Draining)
			require.False(t, m.Since.IsZero())
		}
		close(finish)
		w.shared(map[string]int{"a": 2, "b": 2})
		require.Empty(t, w.status().Moves)
	})
}

func TestClosingTheSessionEndsTheWorkerAfterItsWork(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(3))
		finish := make(chan struct{})
		told := make(chan struct{}, 3)
		a := w.hire("a", func(c *leaderworker.Config) {
			c.Work = func(ctx context.Context, _ leaderworker.Shard) error {
				told <- struct{}{}
				<-ctx.Done()
				told <- struct{}{}
				<-finish
				return nil
			}
		})
		for range 3 {
			harness.Got(t, told)
		}
		short, cancel := context.WithCancel(harness.Context(t))
		closed := make(chan error, 1)
		go func() { closed <- a.session.Close(short) }()
		for range 3 {
			harness.Got(t, told)
		}
		cancel()
		require.ErrorIs(t, harness.Got(t, closed), session.ErrWorkRunning)
		require.NotEmpty(t, c.Keys(t, w.prefix()+"owners/"), "work runs, so its shards are not handed over")
		close(finish)
		require.ErrorIs(t, harness.Got(t, a.done), session.ErrClosed)
		require.NoError(t, a.session.Close(harness.Context(t)))
		require.Empty(t, c.Keys(t, w.prefix()+"owners/"))
		require.Empty(t, c.Keys(t, w.prefix()+"members/"))
	})
}

func TestAWorkerThatHasLeftLeavesNoGoroutine(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(20))
		a := w.hire("a")
		w.shared(map[string]int{"a": 20})
		a.leave()
		require.NoError(t, a.session.Close(harness.Context(t)))
		require.Empty(t, harness.Goroutines())
	})
}

// Two hundred workers and ten thousand shards: more than etcd takes in one
// transaction.
func TestALargeAssignmentFitsIntoEtcd(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(10_000))
		// All but one are only said to be there.
		for i := range 199 {
			_, err := c.Client().Put(harness.Context(t), w.prefix()+"members/"+harness.Name(t)[:10]+string(rune('A'+i/26))+string(rune('a'+i%26)),
				`{"run":"x","share":1}`)
			require.NoError(t, err)
		}
		var writes atomic.Int64
		client, faults := c.Dial(t)
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, w.prefix()+"assigned/") {
				writes.Add(1)
			}
			return call()
		})
		w.hireOn("real", c.SessionOn(t, client))
		w.shared(map[string]int{"real": 50})
		c.AwaitKeys(t, w.prefix()+"assigned/", 200)
		require.LessOrEqual(t, writes.Load(), int64(10))
		keys, err := c.Client().Get(harness.Context(t), w.prefix()+"members/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		require.NoError(t, err)
		require.EqualValues(t, 200, keys.Count)
	})
}

func TestManyShardsTakeFewTransactions(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(1000))
		var claims, releases atomic.Int64
		client, faults := c.Dial(t)
		faults.OnCall(func(req any, call func() error) error {
			switch nested := ownerOps(req, w.prefix()); {
			case nested > 0:
				claims.Add(1)
			case nested < 0:
				releases.Add(1)
			}
			return call()
		})
		a := w.hireOn("a", c.SessionOn(t, client))
		w.shared(map[string]int{"a": 1000})
		a.leave()
		require.LessOrEqual(t, claims.Load(), int64(30))
		require.LessOrEqual(t, releases.Load(), int64(100), "they return one by one")
		require.Empty(t, c.Keys(t, w.prefix()+"owners/"))
	})
}
