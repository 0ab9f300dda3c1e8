package world_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/world"
)

func TestAnAnsweredRequestCostsNoTime(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		client := w.Dial("a").Client()
		started := w.Now()
		put, err := client.Put(t.Context(), "k", "v")
		require.NoError(t, err)
		got, err := client.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, put.Header.Revision, got.Kvs[0].ModRevision)
		require.Less(t, w.Now()-started, 500*time.Millisecond)
	})
}

func TestALeaseOfAMinuteExpires(t *testing.T) {
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		client := w.Dial("a").Client()
		ctx := t.Context()
		lease, err := client.Grant(ctx, 60)
		require.NoError(t, err)
		_, err = client.Put(ctx, "k", "", clientv3.WithLease(lease.ID))
		require.NoError(t, err)
		started := w.Now()
		event := next(t, client.Watch(ctx, "k"))
		require.Equal(t, clientv3.EventTypeDelete, event.Type)
		require.InDelta(t, 60, (w.Now() - started).Seconds(), 1.5)
	})
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
