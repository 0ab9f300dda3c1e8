package conformance

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/internal/prefixwatch"
)

// told puts an update into words.
func told(u prefixwatch.Update) string {
	words := []string{}
	if u.Reset {
		words = append(words, "reset")
	}
	for _, ev := range u.Events {
		name := string(ev.Kv.Key[strings.LastIndex(string(ev.Kv.Key), "/")+1:])
		words = append(words, fmt.Sprintf("%s %s=%s", ev.Type, name, ev.Kv.Value))
	}
	return strings.Join(words, ", ")
}

func watchNext(t *testing.T, w *prefixwatch.Watch) prefixwatch.Update {
	t.Helper()
	update, err := w.Next(harness.Context(t))
	require.NoError(t, err)
	return update
}

func put(t *testing.T, c *harness.Cluster, key, value string) int64 {
	t.Helper()
	resp, err := c.Client().Put(harness.Context(t), key, value)
	require.NoError(t, err)
	return resp.Header.Revision
}

func del(t *testing.T, c *harness.Cluster, key string) {
	t.Helper()
	_, err := c.Client().Delete(harness.Context(t), key)
	require.NoError(t, err)
}

// openWatch follows a prefix from a state that is not older than from: another
// member may lag behind.
func openWatch(t *testing.T, client *clientv3.Client, prefix string, from int64) *prefixwatch.Watch {
	t.Helper()
	w := prefixwatch.Open(context.Background(), client,
		prefixwatch.Config{Key: prefix, Prefix: true, From: from, Probe: 100 * time.Millisecond})
	t.Cleanup(w.Close)
	return w
}

func TestAWatchTellsTheStateAndThenEveryChangeInOrder(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		prefix := "/" + harness.Name(t) + "/"
		from := put(t, c, prefix+"a", "1")
		client, _ := c.Dial(t)
		w := openWatch(t, client, prefix, from)
		require.Zero(t, w.Confirmed())
		require.Equal(t, "reset, PUT a=1", told(watchNext(t, w)))
		require.NotZero(t, w.Confirmed())

		var want, got []string
		for i := range 50 {
			put(t, c, prefix+"b", fmt.Sprint(i))
			del(t, c, prefix+"b")
			want = append(want, fmt.Sprintf("PUT b=%d", i), "DELETE b=")
		}
		last := int64(0)
		for len(got) < len(want) {
			u := watchNext(t, w)
			require.False(t, u.Reset)
			require.Greater(t, u.Revision, last)
			last = u.Revision
			got = append(got, strings.Split(told(u), ", ")...)
		}
		require.Equal(t, want, got)
	})
}

func TestABrokenWatchResumesWithoutLosingAnEvent(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		prefix := "/" + harness.Name(t) + "/"
		client, faults := c.Dial(t)
		w := openWatch(t, client, prefix, 0)
		require.Equal(t, "reset", told(watchNext(t, w)))
		faults.OnStream(func(string) error { return harness.ErrDown })
		faults.Break()
		put(t, c, prefix+"a", "1")
		del(t, c, prefix+"a")
		faults.OnStream(nil)
		got := []string{}
		for len(got) < 2 {
			got = append(got, strings.Split(told(watchNext(t, w)), ", ")...)
		}
		require.Equal(t, []string{"PUT a=1", "DELETE a="}, got)
	})
}

func TestAWatchThatFellBehindACompactionTellsTheDifference(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		prefix := "/" + harness.Name(t) + "/"
		put(t, c, prefix+"gone", "1")
		from := put(t, c, prefix+"kept", "1")
		client, faults := c.Dial(t)
		w := openWatch(t, client, prefix, from)
		require.Equal(t, "reset, PUT gone=1, PUT kept=1", told(watchNext(t, w)))
		faults.OnStream(func(string) error { return harness.ErrDown })
		faults.Break()
		del(t, c, prefix+"gone")
		put(t, c, prefix+"passing", "1")
		del(t, c, prefix+"passing")
		rev := put(t, c, prefix+"new", "1")
		_, err := c.Client().Compact(harness.Context(t), rev)
		require.NoError(t, err)
		faults.OnStream(nil)
		require.ElementsMatch(t, []string{"reset", "PUT new=1", "DELETE gone="},
			strings.Split(told(watchNext(t, w)), ", "))
		put(t, c, prefix+"after", "1")
		require.Equal(t, "PUT after=1", told(watchNext(t, w)))
	})
}

// A connection that has gone silent looks like a prefix on which nothing
// happens.
func TestASilentWatchIsFoundOutAndLosesNothing(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		prefix := "/" + harness.Name(t) + "/"
		client, faults := c.Dial(t)
		w := openWatch(t, client, prefix, 0)
		require.Equal(t, "reset", told(watchNext(t, w)))
		faults.Deafen()
		put(t, c, prefix+"a", "1")
		put(t, c, prefix+"a", "2")
		got := []string{}
		for len(got) < 2 {
			u := watchNext(t, w)
			require.False(t, u.Reset, "nothing was compacted: every change can be told")
			got = append(got, strings.Split(told(u), ", ")...)
		}
		require.Equal(t, []string{"PUT a=1", "PUT a=2"}, got)
	})
}

func TestNextCanBeCalledAgainAfterItsContextEnded(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		prefix := "/" + harness.Name(t) + "/"
		client, _ := c.Dial(t)
		w := openWatch(t, client, prefix, 0)
		require.Equal(t, "reset", told(watchNext(t, w)))
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := w.Next(ended)
		require.ErrorIs(t, err, context.Canceled)
		put(t, c, prefix+"a", "1")
		require.Equal(t, "PUT a=1", told(watchNext(t, w)))
		w.Close()
		_, err = w.Next(harness.Context(t))
		require.ErrorIs(t, err, prefixwatch.ErrClosed)
	})
}

func TestAWatchFollowsFromAPastRevision(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		prefix := "/" + harness.Name(t) + "/"
		first := put(t, c, prefix+"a", "1")
		put(t, c, prefix+"b", "2")
		del(t, c, prefix+"b")
		last := put(t, c, prefix+"c", "3")
		follow := func(since int64) *prefixwatch.Watch {
			w := prefixwatch.Open(context.Background(), c.Client(),
				prefixwatch.Config{Key: prefix, Prefix: true, From: last, Since: since})
			t.Cleanup(w.Close)
			return w
		}
		w := follow(first)
		update := watchNext(t, w)
		require.Equal(t, first, update.Revision)
		require.Equal(t, "reset, PUT a=1", told(update))
		var events []string
		for update.Revision < last {
			update = watchNext(t, w)
			events = append(events, told(update))
		}
		require.Equal(t, "PUT b=2, DELETE b=, PUT c=3", strings.Join(events, ", "))

		_, err := c.Client().Compact(harness.Context(t), last)
		require.NoError(t, err)
		for name, since := range map[string]int64{"forgotten": first, "still to come": last + 1_000_000} {
			update = watchNext(t, follow(since))
			require.NotEqual(t, since, update.Revision, name)
			require.Equal(t, "reset, PUT a=1, PUT c=3", told(update), name)
		}
	})
}
