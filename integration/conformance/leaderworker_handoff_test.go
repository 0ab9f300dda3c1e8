package conformance

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/leaderworker"
	"github.com/gotenure/tenure/session"
)

func TestTheNewOwnerBeginsOnlyWhenTheOldOneHasReturned(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(2))
		told, finish := make(chan leaderworker.Shard, 2), make(chan struct{})
		w.hire("a", func(c *leaderworker.Config) {
			c.Work = func(ctx context.Context, sh leaderworker.Shard) error {
				defer func() { _ = w.work("a")(ctx, sh) }() // until then nobody else may begin
				<-ctx.Done()
				if context.Cause(ctx) == leaderworker.ErrRevoked {
					told <- sh
					<-finish
				}
				return nil
			}
		})
		c.AwaitKeys(t, w.prefix()+"owners/", 2)
		began := make(chan leaderworker.Shard, 2)
		w.hire("b", func(c *leaderworker.Config) {
			c.Observer.Claimed = func(sh leaderworker.Shard) { began <- sh }
		})
		old := harness.Got(t, told)
		require.True(t, old.Valid(), "it is still the owner while it drains")
		require.NoError(t, old.Context().Err())
		require.Positive(t, old.Remaining())
		put := func(sh leaderworker.Shard) bool {
			resp, err := c.Client().Txn(harness.Context(t)).If(sh.Guard()...).Then(clientv3.OpPut("data", "x")).Commit()
			require.NoError(t, err)
			return resp.Succeeded
		}
		require.True(t, put(old), "and can finish its writes")
		require.Empty(t, began)

		close(finish)
		next := harness.Got(t, began)
		require.Equal(t, old.Name(), next.Name())
		require.Greater(t, next.Token(), old.Token())
		require.ErrorIs(t, harness.Ended(t, old.Context()), leaderworker.ErrReleased)
		require.False(t, old.Valid())
		require.Zero(t, old.Remaining())
		require.False(t, put(old), "a late write of the old owner is refused")
		require.True(t, put(next))
	})
}

func TestWorkThatDoesNotReturnKeepsItsShardAndIsReported(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(2))
		finish, late := make(chan struct{}), make(chan leaderworker.Overdue, 1)
		w.hire("a", func(c *leaderworker.Config) {
			work := c.Work
			c.Drain = time.Millisecond
			c.Observer.Overdue = func(o leaderworker.Overdue) { late <- o }
			c.Work = func(ctx context.Context, sh leaderworker.Shard) error {
				defer func() { <-finish }()
				return work(ctx, sh)
			}
		})
		w.shared(map[string]int{"a": 2})
		b := w.hire("b")
		stuck := harness.Got(t, late).Shard
		require.True(t, stuck.Valid())
		w.awaitStatus("a is said to be stuck", func(p leaderworker.Pool) bool {
			return len(p.Workers) == 2 && len(p.Workers[0].Overdue) == 1 && p.Workers[0].Overdue[0] == stuck.Name()
		})
		require.Equal(t, stuck.Token(), w.owners()[stuck.Name()])
		b.leave() // whoever waits for it can go, or others could come
		require.True(t, stuck.Valid())
		close(finish)
		w.shared(map[string]int{"a": 2})
		w.awaitStatus("a is no longer stuck", func(p leaderworker.Pool) bool { return len(p.Workers[0].Overdue) == 0 })
	})
}

// awaitStatus waits until the pool's status is as it should be.
func (w *crew) awaitStatus(what string, ok func(leaderworker.Pool) bool) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(harness.Context(w.t))
	defer cancel()
	for range w.c.Client().Watch(ctx, w.prefix(), clientv3.WithPrefix(), clientv3.WithCreatedNotify()) {
		if ok(w.status()) {
			return
		}
	}
	require.FailNow(w.t, "it did not come to this", "%s: %+v", what, w.status())
}

func TestAChangeOfTheLeaderMovesNoShard(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(20))
		// One after the other, so that it is not what a leader would make of it
		// that knows nothing.
		w.hire("c")
		w.shared(map[string]int{"c": 20})
		w.hire("b")
		w.shared(map[string]int{"b": 10, "c": 10})
		w.hire("a")
		w.until("all have some", func(at map[string]string) bool { return len(at) == 20 && len(counts(at)) == 3 })
		w.awaitStatus("nothing moves", func(p leaderworker.Pool) bool { return len(p.Moves) == 0 && len(p.Shards) == 20 })
		before := w.owners()
		for range 2 { // of three candidates
			w.depose()
			require.Equal(t, before, w.owners())
		}
		require.Empty(t, w.status().Moves)
	})
}

// A leader that leaves takes only its own shards with it.
func TestALeaderThatLeavesMovesOnlyItsOwnShards(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(12))
		a := w.hire("a")
		w.shared(map[string]int{"a": 12})
		w.hire("b")
		w.hire("c")
		w.shared(map[string]int{"a": 4, "b": 4, "c": 4})
		before := w.owners()
		w.mu.Lock()
		at := map[string]string{}
		for shard, worker := range w.at {
			at[shard] = worker
		}
		w.mu.Unlock()
		require.Equal(t, "a", w.status().Leader)
		a.leave()
		w.shared(map[string]int{"b": 6, "c": 6})
		for shard, revision := range w.owners() {
			require.Equal(t, at[shard] == "a", revision != before[shard], "shard %s was at %s", shard, at[shard])
		}
	})
}

func TestAWorkerWhoseLeaseWasLostGetsItsShardsBack(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(8))
		w.cfg.Grace = time.Hour
		causes := make(chan error, 8)
		released := make(chan leaderworker.Released, 8)
		a := w.hire("a", func(c *leaderworker.Config) {
			c.Observer.Released = func(r leaderworker.Released) {
				if r.Err != nil { // else it went to b
					released <- r
				}
			}
			work := c.Work
			c.Work = func(ctx context.Context, sh leaderworker.Shard) error {
				defer func() {
					cause := context.Cause(ctx)
					if !errors.Is(cause, leaderworker.ErrLost) {
						return // it went to b, or it is the end of the test
					}
					if sh.Valid() {
						t.Error("it believed to the end")
					}
					causes <- cause
				}()
				return work(ctx, sh)
			}
		})
		w.hire("b")
		w.shared(map[string]int{"a": 4, "b": 4})
		before := map[string]string{}
		w.mu.Lock()
		for shard, worker := range w.at {
			before[shard] = worker
		}
		w.mu.Unlock()
		epoch, err := a.session.Epoch(harness.Context(t))
		require.NoError(t, err)
		_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
		require.NoError(t, err)
		for range 4 {
			cause := harness.Got(t, causes)
			require.ErrorIs(t, cause, leaderworker.ErrLost)
			require.ErrorIs(t, cause, session.ErrLost)
			require.ErrorIs(t, harness.Got(t, released).Err, session.ErrLost)
		}
		w.until("it is as before", func(at map[string]string) bool {
			for shard, worker := range before {
				if at[shard] != worker {
					return false
				}
			}
			return true
		})
	})
}

func TestAWorkerThatIsGoneForLongerThanTheGraceIsReplaced(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(6))
		w.cfg.Grace = -1
		client, faults := c.Dial(t)
		s := c.SessionOn(t, client)
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		w.hire("b")
		w.hireOn("a", s, func(c *leaderworker.Config) {
			c.Work = func(ctx context.Context, _ leaderworker.Shard) error { <-ctx.Done(); return nil }
		})
		w.awaitStatus("they share", func(p leaderworker.Pool) bool {
			return len(p.Workers) == 2 && p.Workers[0].Owned == 3 && p.Workers[1].Owned == 3
		})
		faults.Cut()
		faults.Break()
		_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
		require.NoError(t, err)
		// a does not know it yet, and believes on: that is what an operator who
		// revokes a lease brings about. Its shards are free in etcd.
		w.awaitStatus("b owns everything", func(p leaderworker.Pool) bool {
			return len(p.Workers) == 1 && p.Workers[0].Owned == 6
		})
		faults.Mend()
	})
}

func TestASecondProcessOfOneNameWaitsForTheFirst(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(3))
		first := w.hire("a")
		w.shared(map[string]int{"a": 3})
		before := w.owners()
		ctx, cancel := context.WithCancel(harness.Context(t))
		defer cancel()
		written := c.Client().Watch(ctx, w.prefix()+"members/a", clientv3.WithCreatedNotify())
		<-written
		warned := make(chan string, 10)
		w.hire("a", func(c *leaderworker.Config) { c.Logger = slog.New(slog.NewTextHandler(lines(warned), nil)) })
		select {
		case line := <-warned:
			require.Contains(t, line, "another process has this worker's name")
		case <-written:
			require.FailNow(t, "it has taken the first one's place")
		}
		require.Equal(t, before, w.owners())
		first.leave()
		w.shared(map[string]int{"a": 3})
		for shard, revision := range w.owners() {
			require.Greater(t, revision, before[shard])
		}
	})
}

// lines sends what is written to it, as long as somebody can take it.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	select {
	case l <- string(line):
	default:
	}
	return len(line), nil
}

func TestTwoWorkersOfOneSessionShareTheShards(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(4))
		s := c.Session(t)
		a := w.hireOn("a", s)
		w.hireOn("b", s)
		w.shared(map[string]int{"a": 2, "b": 2})
		a.leave()
		w.shared(map[string]int{"b": 4})
	})
}

func TestAnOwnerKeyThatIsDeletedByHandEndsTheWorkAndIsClaimedAnew(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(3))
		lost := make(chan leaderworker.Released, 1)
		client, _ := c.Dial(t)
		w.hireOn("a", c.SessionOn(t, client, session.WithTTL(time.Second)), func(c *leaderworker.Config) {
			c.Observer.Released = func(r leaderworker.Released) {
				if r.Err != nil {
					lost <- r
				}
			}
		})
		w.shared(map[string]int{"a": 3})
		before := w.owners()
		_, err := c.Client().Delete(harness.Context(t), w.prefix()+"owners/1")
		require.NoError(t, err)
		r := harness.Got(t, lost)
		var deleted *session.KeyError
		require.ErrorAs(t, r.Err, &deleted)
		require.Equal(t, "1", r.Shard.Name())
		w.shared(map[string]int{"a": 3})
		after := w.owners()
		require.Equal(t, before["0"], after["0"])
		require.Greater(t, after["1"], before["1"])
	})
}

func TestAMemberKeyThatIsDeletedByHandComesBack(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		w := newCrew(t, c, leaderworker.Numbered(3))
		w.cfg.Grace = time.Hour
		client, _ := c.Dial(t)
		w.hireOn("a", c.SessionOn(t, client, session.WithTTL(time.Second)))
		w.shared(map[string]int{"a": 3})
		before := w.owners()
		_, err := c.Client().Delete(harness.Context(t), w.prefix()+"members/a")
		require.NoError(t, err)
		c.AwaitKeys(t, w.prefix()+"members/", 1)
		require.Equal(t, before, w.owners(), "and nothing has moved")
	})
}
