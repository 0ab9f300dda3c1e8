package world_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gotenure/tenure/integration/world"
)

func TestAPartitionLongerThanALeaseEndsIt(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		ctx, node := t.Context(), w.Dial("a")
		lease, err := node.Client().Grant(ctx, 5)
		require.NoError(t, err)
		_, err = node.Client().Put(ctx, "k", "", clientv3.WithLease(lease.ID))
		require.NoError(t, err)
		renewals, err := node.Client().KeepAlive(ctx, lease.ID)
		require.NoError(t, err)
		deleted := w.Direct().Watch(ctx, "k", clientv3.WithFilterPut())
		time.Sleep(time.Minute)
		require.Empty(t, deleted, "the lease was kept")

		node.Cut()
		cut := w.Now()
		require.Equal(t, clientv3.EventTypeDelete, next(t, deleted).Type)
		require.InDelta(t, 5, (w.Now() - cut).Seconds(), 2)
		for range renewals {
		}
		node.Mend()
		_, err = node.Client().Get(within(t, time.Second), "k")
		require.NoError(t, err)
	})
}

func TestARequestSentIntoACutIsCarriedOutWhenItIsMended(t *testing.T) {
	for name, cut := range map[string]func(*world.Node){"both ways": (*world.Node).Cut, "requests": (*world.Node).CutRequests} {
		t.Run(name, func(t *testing.T) {
			world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
				node := w.Dial("a")
				_, err := node.Client().Get(t.Context(), "k")
				require.NoError(t, err)
				cut(node)
				time.AfterFunc(5*time.Second, node.Mend)
				began := w.Now()
				_, err = node.Client().Put(t.Context(), "k", "v")
				require.NoError(t, err)
				require.Equal(t, 5*time.Second, w.Now()-began)
			})
		})
	}
}

func TestAnAnswerHeldBackArrivesLateButTheWriteWasInTime(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		node := w.Dial("a")
		_, err := node.Client().Get(t.Context(), "k")
		require.NoError(t, err)
		seen := w.Direct().Watch(t.Context(), "k")
		node.CutAnswers()
		time.AfterFunc(5*time.Second, node.Mend)
		began := w.Now()
		answered := make(chan error)
		go func() {
			_, err := node.Client().Put(t.Context(), "k", "v")
			answered <- err
		}()
		next(t, seen)
		require.Equal(t, began, w.Now())
		require.NoError(t, <-answered)
		require.Equal(t, began+5*time.Second, w.Now())
	})
}

func TestAnAnswerCanBeLostForGood(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		node := w.Dial("a")
		_, err := node.Client().Get(t.Context(), "k")
		require.NoError(t, err)
		node.CutAnswers()
		time.AfterFunc(time.Second, func() { node.Reset(); node.Mend() })
		_, err = node.Client().Put(t.Context(), "k", "v")
		require.Equal(t, codes.Unavailable, status.Code(err), err)
		got, err := node.Client().Get(within(t, time.Second), "k")
		require.NoError(t, err)
		require.Len(t, got.Kvs, 1, "committed, and not answered")
	})
}

func TestAWatchGetsEventsWhileRequestsAreCut(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		node := w.Dial("a")
		events := watching(t, node.Client(), "k")
		node.CutRequests()
		began := w.Now()
		_, err := w.Direct().Put(t.Context(), "k", "v")
		require.NoError(t, err)
		next(t, events)
		require.Equal(t, began, w.Now())
	})
}

func TestASlowLinkCostsARoundTrip(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		node := w.Dial("a")
		_, err := node.Client().Get(t.Context(), "k")
		require.NoError(t, err)
		node.Delay(300*time.Millisecond, 40*time.Millisecond)
		began := w.Now()
		_, err = node.Client().Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, 340*time.Millisecond, w.Now()-began)
	})
}

func TestASilentConnectionIsFoundOutByKeepalives(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		node := w.Dial("a")
		_, err := node.Client().Get(t.Context(), "k")
		require.NoError(t, err)
		node.Strand()
		began := w.Now()
		_, err = node.Client().Get(t.Context(), "k") // repeated by the client
		require.NoError(t, err)
		took := w.Now() - began
		require.Greater(t, took, 10*time.Second)
		require.Less(t, took, 14*time.Second)
	})
}

func TestAKilledNodeKeepsNothingAliveAndItsNameIsFree(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		ctx, node := t.Context(), w.Dial("a")
		lease, err := node.Client().Grant(ctx, 5)
		require.NoError(t, err)
		_, err = node.Client().Put(ctx, "k", "", clientv3.WithLease(lease.ID))
		require.NoError(t, err)
		_, err = node.Client().KeepAlive(ctx, lease.ID)
		require.NoError(t, err)
		deleted := w.Direct().Watch(ctx, "k", clientv3.WithFilterPut())
		node.Kill()
		next(t, deleted)
		require.Nil(t, w.Node("a"))
		_, err = w.Dial("a").Client().Get(ctx, "k")
		require.NoError(t, err)
	})
}

func TestACrashLosesNothingThatWasCommitted(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		ctx, node := t.Context(), w.Dial("a")
		events := watching(t, node.Client(), "k")
		lease, err := node.Client().Grant(ctx, 10)
		require.NoError(t, err)
		_, err = node.Client().Put(ctx, "k", "v", clientv3.WithLease(lease.ID))
		require.NoError(t, err)
		next(t, events)

		w.CrashServer()
		_, err = node.Client().Put(within(t, time.Second), "k", "w")
		require.Error(t, err)
		time.Sleep(time.Minute)
		require.NoError(t, w.RestartServer())
		restarted := w.Now()

		event := next(t, events)
		require.Equal(t, clientv3.EventTypeDelete, event.Type, "nobody renewed the lease")
		require.Greater(t, w.Now()-restarted, 8*time.Second, "but it had its full time again")
	})
}

func TestAWatchThatMissedACompactionIsTold(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		ctx, node := t.Context(), w.Dial("a")
		events := watching(t, node.Client(), "k")
		node.Cut()
		for range 3 {
			_, err := w.Direct().Put(ctx, "k", "v")
			require.NoError(t, err)
		}
		require.NoError(t, w.Compact(ctx))
		node.Reset() // what the server has sent into the cut is lost
		node.Mend()
		answer := <-events
		require.ErrorIs(t, answer.Err(), rpctypes.ErrCompacted)
	})
}

func TestCompactingTwiceIsNoError(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		_, err := w.Direct().Put(t.Context(), "k", "v")
		require.NoError(t, err)
		require.NoError(t, w.Compact(t.Context()))
		require.NoError(t, w.Compact(t.Context()))
	})
}

func TestCompactionFailsWhileTheServerIsDown(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		w.CrashServer()
		require.Error(t, w.Compact(t.Context()))
	})
}

// watching returns a watch that the server has confirmed.
func watching(t *testing.T, client *clientv3.Client, key string) clientv3.WatchChan {
	t.Helper()
	events := client.Watch(t.Context(), key, clientv3.WithCreatedNotify())
	answer := <-events
	require.True(t, answer.Created)
	return events
}

// next returns the next event of a watch.
func next(t *testing.T, events clientv3.WatchChan) *clientv3.Event {
	t.Helper()
	answer, open := <-events
	require.True(t, open)
	require.NoError(t, answer.Err())
	require.Len(t, answer.Events, 1)
	return answer.Events[0]
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
