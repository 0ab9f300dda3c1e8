package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/world"
	"github.com/gotenure/tenure/internal/clock"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// A holder dies at any time of its life, by a crash or because it is cut off, and
// the next one must not begin before the delay has passed since the lock was
// free.
func TestTheNextGrantWaitsAfterACrashAndOnlyThen(t *testing.T) {
	seed := rand.Uint64() >> 16
	t.Logf("seed %d", seed)
	world.Run(t, world.Config{Seed: seed}, func(t *testing.T, w *world.World) {
		ctx := onWorldTime(w)
		for trial := range 24 {
			ttl := time.Duration(2+w.Rand.IntN(10)) * time.Second
			delay := time.Duration(1+w.Rand.Int64N(30_000)) * time.Millisecond
			name := fmt.Sprintf("orders-%d", trial)
			end := []string{"crash", "cut", "unlock", "close", "deleted", "other"}[trial%6]
			t.Logf("TTL %v, delay %v, %s", ttl, delay, end)

			node := w.Dial(name + "-holder")
			s, err := session.New(ctx, node.Client(), session.WithTTL(ttl))
			require.NoError(t, err)
			mu := lock.NewMutex(s, name, lock.WithLockDelay(delay))
			held, err := mu.Lock(ctx)
			require.NoError(t, err)
			other, err := session.New(ctx, w.Dial(name+"-next").Client(), session.WithTTL(2*time.Second))
			require.NoError(t, err)
			opts := []lock.Option{lock.WithLockDelay(time.Minute)} // its own does not count
			if end == "other" {
				opts = nil
			}
			granted := make(chan time.Time, 1)
			var next sync.WaitGroup
			next.Go(func() {
				held, err := lock.NewMutex(other, name, opts...).Lock(ctx)
				granted <- time.Now()
				if err == nil {
					err = held.Unlock(ctx)
				}
				require.NoError(t, err)
			})
			freed := free(t, w, mu.Prefix())

			pause(ctx, time.Duration(w.Rand.Int64N(int64(3*(ttl+delay))))) // long enough to forget to renew
			require.True(t, held.Valid())
			atOnce, died := false, time.Now()
			switch end {
			case "crash", "other":
				node.Kill()
			case "cut":
				node.Cut()
			case "unlock":
				require.NoError(t, held.Unlock(ctx))
				atOnce = true
			case "close":
				require.NoError(t, s.Close(ctx))
				atOnce = true
			case "deleted": // by hand; its session lives, and takes its marker back
				key, _ := held.Key()
				_, err := w.Direct().Delete(ctx, key)
				require.NoError(t, err)
			}
			wait := (<-granted).Sub(<-freed)
			switch {
			case atOnce || end == "other":
				require.Less(t, wait, 50*time.Millisecond, "nobody has died, or nobody cares")
			case end == "deleted":
				require.Less(t, wait, ttl/3+time.Second)
			default:
				require.GreaterOrEqual(t, wait, delay)
				require.Less(t, wait, delay+3*time.Second)
				require.Less(t, time.Since(died), ttl+delay+5*time.Second)
			}
			require.False(t, held.Valid() && end != "deleted", "the lock was free and its holder believed")
			next.Wait()
			node.Mend()
			_ = s.Close(ctx)
			require.NoError(t, other.Close(ctx))
			node.Close()
		}
		pause(ctx, 2*time.Minute)
		for _, prefix := range []string{"/tenure/delays/", "/tenure/locks/", "/tenure/sessions/"} {
			left, err := w.Direct().Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
			require.NoError(t, err)
			require.Zero(t, left.Count, prefix)
		}
		leases, err := w.Direct().Leases(ctx)
		require.NoError(t, err)
		require.Empty(t, leases.Leases)
	})
}

// A session that has lost its lease waits for its own former self.
func TestASessionThatWasCutOffWaitsTooBeforeItHoldsAgain(t *testing.T) {
	world.Run(t, world.Config{Seed: 1}, func(t *testing.T, w *world.World) {
		ctx := onWorldTime(w)
		node := w.Dial("a")
		s, err := session.New(ctx, node.Client(), session.WithTTL(5*time.Second))
		require.NoError(t, err)
		mu := lock.NewMutex(s, "orders", lock.WithLockDelay(10*time.Second))
		held, err := mu.Lock(ctx)
		require.NoError(t, err)
		freed := free(t, w, mu.Prefix())
		node.Cut()
		<-held.Context().Done()
		node.Mend()
		again, err := mu.Lock(ctx)
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(<-freed), 10*time.Second)
		require.NoError(t, again.Unlock(ctx))
		_, err = mu.TryLock(ctx)
		require.NoError(t, err)
		require.NoError(t, s.Close(ctx))
		node.Close()
	})
}

// onWorldTime is the world's context with a clock that runs at its time.
func onWorldTime(w *world.World) context.Context {
	return clock.NewContext(w.Context(), clock.Func(w.Now))
}

// free tells when the first key below a prefix was deleted.
func free(t *testing.T, w *world.World, prefix string) <-chan time.Time {
	t.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	gone := w.Direct().Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithFilterPut(), clientv3.WithCreatedNotify())
	<-gone
	freed := make(chan time.Time, 1)
	go func() {
		defer cancel()
		<-gone
		freed <- time.Now()
	}()
	return freed
}
