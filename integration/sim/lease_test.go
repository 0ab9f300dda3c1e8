package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/world"
	"github.com/gotenure/tenure/internal/clock"
	"github.com/gotenure/tenure/session"
)

// The renewals' answers come as late as they can and still count, the clock
// runs slow, and then the link is cut: the worst that the deadline must cope
// with.
func TestALeaseEndsHereBeforeItEndsAtTheServer(t *testing.T) {
	seed := rand.Uint64() >> 16
	world.Run(t, world.Config{Seed: seed}, func(t *testing.T, w *world.World) {
		for trial := range 60 {
			ttl := time.Duration(2+w.Rand.IntN(30)) * time.Second
			// Later than that and the client takes the connection for dead.
			late := time.Duration(w.Rand.Int64N(int64(min(ttl/6, 2500*time.Millisecond))))
			age := time.Duration(w.Rand.Int64N(int64(3 * ttl)))
			t.Logf("seed %d: TTL %v, answers late by %v, cut after %v", seed, ttl, late, age)

			node := w.Dial(fmt.Sprintf("node-%d", trial))
			born := time.Now()
			ctx := clock.NewContext(w.Context(), clock.Func(func() time.Duration {
				return time.Duration(float64(time.Since(born)) * (1 - drift))
			}))
			s, err := session.New(ctx, node.Client(), session.WithTTL(ttl))
			require.NoError(t, err)
			epoch, err := s.Epoch(ctx)
			require.NoError(t, err)
			key := fmt.Sprintf("/tenure/sessions/%x", int64(epoch.Lease()))
			gone := w.Direct().Watch(ctx, key, clientv3.WithFilterPut(), clientv3.WithCreatedNotify())
			<-gone

			node.Delay(0, late)
			pause(ctx, age)
			require.True(t, epoch.Valid(), "late answers are answers")
			node.Cut()
			<-gone
			require.False(t, epoch.Valid())
			require.Error(t, epoch.Context().Err(), "X1: the key is gone and the context has not ended")
			require.ErrorIs(t, context.Cause(epoch.Context()), session.ErrLost)

			node.Mend()
			node.Delay(0, 0)
			next, err := s.Epoch(ctx)
			require.NoError(t, err)
			require.Greater(t, next.Number(), epoch.Number(), "X3: there is a lease again")
			require.NoError(t, s.Close(ctx))
			node.Close()
		}
	})
}
