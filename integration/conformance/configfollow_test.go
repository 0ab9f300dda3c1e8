package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/integration/harness"
)

func conns(n int) string { return fmt.Sprintf(`{"max_conns": %d}`, n) }

func TestSubscribersAreToldOldAndNewInOrder(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, _ := c.Dial(t)
		v := watchLimits(t, client, name)
		type pair struct{ old, new int }
		told := make(chan pair, 100)
		stop := v.OnChange(func(old, now config.Snapshot[limits]) {
			if old.Revision >= now.Revision {
				t.Errorf("%d after %d", now.Revision, old.Revision)
			}
			told <- pair{old.Value.MaxConns, now.Value.MaxConns}
		})
		put(t, c, liveDoc(name), conns(1))
		require.Equal(t, pair{0, 1}, harness.Got(t, told))
		for n := 2; n < 20; n++ {
			put(t, c, liveDoc(name), conns(n))
		}
		for last := 1; last < 19; {
			p := harness.Got(t, told)
			require.Equal(t, last, p.old, "nothing is missing between")
			require.Greater(t, p.new, last)
			last = p.new
		}
		waitFor(t, v, put(t, c, liveDoc(name), `{ "max_conns": 19}`)) // written differently, and the same
		stop()
		waitFor(t, v, put(t, c, liveDoc(name), conns(20)))
		require.Empty(t, told)
	})
}

func TestASlowSubscriberBlocksNobody(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		v := watchLimits(t, c.Client(), name)
		inside, release := make(chan int, 10), make(chan struct{})
		v.OnChange(func(_, now config.Snapshot[limits]) {
			inside <- now.Value.MaxConns
			<-release
		})
		fast := make(chan int, 100)
		v.OnChange(func(_, now config.Snapshot[limits]) { fast <- now.Value.MaxConns })
		waitFor(t, v, put(t, c, liveDoc(name), conns(1)))
		require.Equal(t, 1, harness.Got(t, inside))
		rev := int64(0)
		for n := 2; n <= 10; n++ {
			rev = put(t, c, liveDoc(name), conns(n))
		}
		waitFor(t, v, rev)
		for n := 0; n < 10; {
			n = harness.Got(t, fast)
		}
		close(release)
		require.Equal(t, 10, harness.Got(t, inside), "the newest at once")
	})
}

func TestASubscriberToAPartIsToldOfThatPartOnly(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		v := watchLimits(t, c.Client(), name)
		type change struct{ old, new []string }
		told := make(chan change, 10)
		config.OnChangeOf(v, func(l *limits) []string { return l.Hosts }, func(old, now []string) { told <- change{old, now} })
		waitFor(t, v, put(t, c, liveDoc(name), `{"max_conns": 1}`))
		waitFor(t, v, put(t, c, liveDoc(name), `{"max_conns": 1, "hosts": ["a"]}`))
		require.Equal(t, change{nil, []string{"a"}}, harness.Got(t, told))
		waitFor(t, v, put(t, c, liveDoc(name), `{"max_conns": 2, "hosts": ["a"]}`))
		waitFor(t, v, put(t, c, liveDoc(name), `{"hosts": ["a", "b"]}`))
		require.Equal(t, change{[]string{"a"}, []string{"a", "b"}}, harness.Got(t, told))
		require.Empty(t, told)
	})
}

func TestChangesBeginWithWhatIsInForceAndTellRejections(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		put(t, c, liveDoc(name), `{"max_conns": 1, "password": "a"}`)
		v := watchLimits(t, c.Client(), name)
		ctx, cancel := context.WithCancelCause(harness.Context(t))
		defer cancel(nil)
		stopped := errors.New("stopped")
		n := 0
		for step, err := range v.Changes(ctx) {
			switch n++; n {
			case 1:
				require.NoError(t, err)
				require.Nil(t, step.Old.Value)
				require.Equal(t, 1, step.New.Value.MaxConns)
				require.Contains(t, step.Changes(), config.Change{Path: "max_conns", New: "1"})
				put(t, c, liveDoc(name), `{"max_conns": 2, "password": "b"}`)
			case 2:
				require.NoError(t, err)
				require.Equal(t, []config.Change{
					{Path: "max_conns", Old: "1", New: "2"}, {Path: "password", Old: "[secret]", New: "[secret]"},
				}, step.Changes())
				put(t, c, liveDoc(name), `{"max_conns": -1}`)
			case 3:
				require.ErrorIs(t, err, config.ErrRejected)
				require.Equal(t, 2, step.New.Value.MaxConns)
				put(t, c, liveDoc(name), conns(3))
			case 4:
				require.NoError(t, err)
				require.Equal(t, 2, step.Old.Value.MaxConns)
				require.Equal(t, 3, step.New.Value.MaxConns)
				cancel(stopped)
			case 5:
				require.ErrorIs(t, err, stopped)
			}
		}
		require.Equal(t, 5, n)
	})
}

// However many follow a value in one process, etcd sees one watch.
func TestAThousandWatchersOfAProcessAreOneWatch(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		var watches atomic.Int64
		faults.OnSend(func(msg any) {
			if req, ok := msg.(*pb.WatchRequest); ok && req.GetCreateRequest() != nil {
				watches.Add(1)
			}
		})
		v := watchLimits(t, client, name)
		told := make(chan int, 1000)
		for range 1000 {
			v.OnChange(func(_, now config.Snapshot[limits]) { told <- now.Value.MaxConns })
		}
		put(t, c, liveDoc(name), conns(7))
		for range 1000 {
			require.Equal(t, 7, harness.Got(t, told))
		}
		require.EqualValues(t, 1, watches.Load())
	})
}

// Defect 33: the store is down when the process starts, and so is the process.
func TestAProcessStartsWithTheFallbackWhileEtcdIsDown(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		file := filepath.Join(t.TempDir(), "limits.fallback")
		withFile := config.WithFallback(file, 50*time.Millisecond)
		client, faults := c.Dial(t)

		cut, cutFaults := c.Dial(t)
		cutFaults.Cut()
		_, err := config.Watch[limits](harness.Context(t), cut, name, withFile)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, os.ErrNotExist, "there is no fallback yet")

		first, err := config.Watch[limits](harness.Context(t), client, name, config.WithFallback(file, harness.Patience))
		require.NoError(t, err)
		rev := put(t, c, liveDoc(name), `{"max_conns": 1, "password": "x"}`)
		waitFor(t, first, rev)
		_, err = first.Wait(harness.Context(t), put(t, c, liveDoc(name), conns(-1)))
		require.Error(t, err)
		require.NoError(t, first.Close(harness.Context(t)))
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())

		faults.Cut()
		v := watchLimits(t, client, name, withFile)
		s := v.Snapshot()
		require.Equal(t, 1, v.Get().MaxConns, "the last good one, not the last one")
		require.Equal(t, config.FromFallback, s.Source)
		require.Equal(t, rev, s.Revision)
		require.False(t, s.Current)
		require.Positive(t, s.Age)
		require.Error(t, v.Reload(), "etcd has not answered")
		told := make(chan config.Snapshot[limits], 10)
		v.OnChange(func(_, now config.Snapshot[limits]) { told <- now })
		later := put(t, c, liveDoc(name), conns(2))
		faults.Mend()
		require.Equal(t, 2, harness.Got(t, told).Value.MaxConns)
		s = waitFor(t, v, later)
		require.Equal(t, config.FromEtcd, s.Source)
		require.True(t, s.Current)
	})
}

func TestAProcessStartsWithTheFallbackWhileEtcdHasABadDocument(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		for _, layout := range []config.Option{config.WithCodec(config.JSON), config.PerField()} {
			name := harness.Name(t)
			file := filepath.Join(t.TempDir(), "limits.fallback")
			withFile := config.WithFallback(file, harness.Patience)
			first, err := config.Watch[limits](harness.Context(t), c.Client(), name, layout, withFile)
			require.NoError(t, err)
			_, err = first.Put(harness.Context(t), limits{MaxConns: 1})
			require.NoError(t, err)
			rev, err := first.Update(harness.Context(t), increment)
			require.NoError(t, err)
			waitFor(t, first, rev)
			require.NoError(t, first.Close(harness.Context(t)))
			bad := put(t, c, liveDoc(name), `{"max_conns": "x"}`)
			bad = max(bad, put(t, c, liveKeys(name)+"max_conns", "x"))
			v := watchLimits(t, c.Client(), name, layout, withFile)
			s := v.Snapshot()
			require.Equal(t, config.FromFallback, s.Source)
			require.Equal(t, 2, v.Get().MaxConns)
			require.ErrorContains(t, s.Rejected, "max_conns: want an integer")
			_, err = v.Wait(harness.Context(t), s.Rejected.Revision)
			require.ErrorIs(t, err, config.ErrRejected)
			rev, err = v.Put(harness.Context(t), limits{MaxConns: 3})
			require.NoError(t, err)
			require.Greater(t, rev, bad)
			require.Equal(t, 3, waitFor(t, v, rev).Value.MaxConns)
		}
	})
}

func TestAFallbackThatIsNotOursIsRefused(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		file := filepath.Join(t.TempDir(), "fallback")
		client, faults := c.Dial(t)
		faults.Cut()
		for text, says := range map[string]string{
			"{":                              "unexpected end",
			`{"format": 2}`:                  "format 2 is not known",
			`{"format": 1, "name": "other"}`: `of the configuration "other"`,
			`{"format": 1, "name": "x", "content": {"fields": {"a": "1"}}}`:         "another layout",
			`{"format": 1, "name": "x", "content": {"doc": "{\"max_conns\": -1}"}}`: "max_conns is negative",
		} {
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			_, err := config.Watch[limits](harness.Context(t), client, "x", config.WithFallback(file, time.Millisecond))
			require.ErrorContains(t, err, says)
			require.ErrorContains(t, err, "etcd did not answer")
		}
	})
}
