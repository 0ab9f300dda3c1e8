package world_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/history"
	"github.com/gotenure/tenure/integration/world"
)

func TestWhatIsAnsweredAtOnceCostsNoTime(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		client := w.Dial("a").Client()
		began := w.Now()
		put, err := client.Put(t.Context(), "k", "v")
		require.NoError(t, err)
		got, err := client.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, put.Header.Revision, got.Kvs[0].ModRevision)
		require.Equal(t, began, w.Now())
	})
}

func TestALeaseOfAMinuteExpires(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		ctx, client := t.Context(), w.Dial("a").Client()
		lease, err := client.Grant(ctx, 60)
		require.NoError(t, err)
		_, err = client.Put(ctx, "k", "", clientv3.WithLease(lease.ID))
		require.NoError(t, err)
		began := w.Now()
		event := next(t, watching(t, client, "k"))
		require.Equal(t, clientv3.EventTypeDelete, event.Type)
		require.InDelta(t, 60, (w.Now() - began).Seconds(), 1.5)
	})
}

func TestWhatGoStartedIsStoppedWithTheWorld(t *testing.T) {
	stopped := false
	world.Run(t, world.Config{}, func(_ *testing.T, w *world.World) {
		client := w.Dial("a").Client()
		w.Go(func() {
			for range client.Watch(w.Context(), "k") {
			}
			stopped = true
		})
	})
	require.True(t, stopped)
}

func TestAWorldEndsInTheMiddleOfEverything(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		a, b := w.Dial("a"), w.Dial("b")
		lease, err := a.Client().Grant(t.Context(), 5)
		require.NoError(t, err)
		_, err = a.Client().KeepAlive(w.Context(), lease.ID)
		require.NoError(t, err)
		watching(t, b.Client(), "k")
		a.Cut()
		b.Delay(time.Second, time.Second)
		w.Go(func() { _, _ = a.Client().Put(w.Context(), "k", "v") })
		w.Go(func() { _, _ = b.Client().Put(w.Context(), "k", "v") })
		time.Sleep(100 * time.Millisecond)
		w.CrashServer()
	})
}

func TestTheSeedFixesWhatIsDrawn(t *testing.T) {
	draw := func(seed uint64) (out []uint64) {
		world.Run(t, world.Config{Seed: seed}, func(_ *testing.T, w *world.World) {
			out = []uint64{w.Rand.Uint64(), w.RandFor("a").Uint64(), w.RandFor("b").Uint64()}
		})
		return out
	}
	require.Equal(t, draw(1), draw(1))
	require.NotEqual(t, draw(1), draw(2))
}

func TestTheObserverDatesEveryChangeAtItsInstant(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		ctx, node := t.Context(), w.Dial("a")
		rec := history.NewRecorder(w.Now)
		observer, err := history.Observe(ctx, w.Direct(), rec, history.Under("locks/"))
		require.NoError(t, err)
		defer observer.Close()
		w.KeepUp(observer.WaitFor)

		var want []time.Duration
		put := func() {
			answer, err := node.Client().Put(ctx, "locks/a/1", "v")
			require.NoError(t, err)
			want = append(want, time.Duration(answer.Header.Revision), w.Now())
		}
		put()
		for range 5 {
			time.Sleep(1234 * time.Millisecond)
			put()
			require.NoError(t, w.RestartServer())
			for { // as soon as the node is connected again
				if _, err := node.Client().Get(ctx, "locks/a/1"); err == nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
			put()
			require.NoError(t, w.Compact(ctx))
		}
		last := want[len(want)-2]
		require.NoError(t, observer.WaitFor(ctx, int64(last)))

		h := rec.History()
		require.Empty(t, h.Gaps)
		var got []time.Duration
		for _, c := range h.Changes {
			if c.Name == "a" {
				got = append(got, time.Duration(c.Revision), c.At)
			}
		}
		require.Equal(t, want, got)
	})
}

func TestLinksTellWhenTheyGoDownAndUp(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		var told []string
		w.OnLink(func(node string, up bool) { told = append(told, fmt.Sprintf("%s %v", node, up)) })
		node := w.Dial("a")
		node.CutAnswers()
		node.Cut()
		node.Mend()
		node.Mend()
		w.CrashServer()
		w.CrashServer()
		require.NoError(t, w.RestartServer())
		node.Close()
		node.Close()
		require.Equal(t, []string{"a true", "a false", "a true", " false", " true", "a false"}, told)
	})
}

func TestACompactionWaitsForTheObservers(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		put, err := w.Direct().Put(t.Context(), "k", "v")
		require.NoError(t, err)
		var asked []int64
		var answer error
		w.KeepUp(func(_ context.Context, revision int64) error {
			asked = append(asked, revision)
			return answer
		})
		require.NoError(t, w.Compact(t.Context()))
		answer = errors.New("blind")
		require.ErrorIs(t, w.Compact(t.Context()), answer)
		require.Equal(t, []int64{put.Header.Revision, put.Header.Revision}, asked)
		answer = nil
	})
}
