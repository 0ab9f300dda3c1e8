package sim

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/world"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// A hold that was ended from outside leaves its key for as long as the work
// needs to stop, and no longer than the margin.
func TestWorkHasTimeToStopWhenItsHoldHasLastedTooLong(t *testing.T) {
	for _, needs := range []time.Duration{100 * time.Millisecond, time.Hour} {
		world.Run(t, world.Config{Seed: 1}, func(t *testing.T, w *world.World) {
			ctx := onWorldTime(w)
			open := func(name string) *session.Session {
				s, err := session.New(ctx, w.Dial(name).Client(), session.WithTTL(10*time.Second))
				require.NoError(t, err)
				return s
			}
			s, other := open("a"), open("b")
			mu := lock.NewMutex(s, "orders", lock.WithMaxHold(5*time.Second))
			var ended time.Time
			done := make(chan error, 1)
			go func() {
				done <- mu.Do(ctx, func(ctx context.Context, _ *lock.Held) error {
					began := time.Now()
					<-ctx.Done()
					ended = time.Now()
					require.Equal(t, 5*time.Second, ended.Sub(began).Round(10*time.Millisecond))
					pause(w.Context(), needs)
					return nil
				})
			}()
			pause(ctx, time.Second)
			next, err := lock.NewMutex(other, "orders").Lock(ctx)
			require.NoError(t, err)
			require.Equal(t, min(needs, time.Second), time.Since(ended).Round(10*time.Millisecond))
			require.NoError(t, next.Unlock(ctx))
			require.ErrorIs(t, <-done, lock.ErrMaxHold)

			keys, err := w.Direct().Get(ctx, mu.Prefix(), clientv3.WithPrefix())
			require.NoError(t, err)
			require.Empty(t, keys.Kvs)
			require.NoError(t, s.Close(ctx))
			require.NoError(t, other.Close(ctx))
		})
	}
}

func TestALockThatWasAskedForIsNotHandedOnInTheSession(t *testing.T) {
	world.Run(t, world.Config{Seed: 1}, func(t *testing.T, w *world.World) {
		ctx := onWorldTime(w)
		s, err := session.New(ctx, w.Dial("a").Client())
		require.NoError(t, err)
		mu := lock.NewMutex(s, "orders")
		for _, asked := range []bool{false, true} {
			held, err := mu.Lock(ctx)
			require.NoError(t, err)
			next := make(chan *lock.Held, 1)
			go func() {
				held, err := mu.Lock(ctx)
				require.NoError(t, err)
				next <- held
			}()
			if asked {
				require.NoError(t, mu.Request(ctx))
				<-held.Requested()
			}
			pause(ctx, time.Second) // it waits in the local queue
			require.NoError(t, held.Unlock(ctx))
			got := <-next
			require.Equal(t, asked, held.Token()>>16 != got.Token()>>16, "by a key of its own if somebody has asked")
			require.NoError(t, got.Unlock(ctx))
		}
		require.NoError(t, s.Close(ctx))
	})
}

func TestMutexHoldsUnderFaultsWhileLocksAreTakenAway(t *testing.T) { play(t, *seeds/3+1, 2, takeAway) }

// takeAway is an operator that asks for the lock, takes it from its holder, and
// throws waiters out.
func takeAway(ctx context.Context, w *world.World) {
	rnd := w.RandFor("operator")
	for ctx.Err() == nil {
		pause(ctx, upTo(rnd, 6*time.Second))
		entries, err := lock.Queue(ctx, w.Direct(), "", "orders")
		if err != nil || len(entries) == 0 {
			continue
		}
		patience, cancel := context.WithTimeout(ctx, upTo(rnd, 4*time.Second))
		switch rnd.IntN(4) {
		case 0:
			_ = entries[0].Request(patience, w.Direct(), "", "the operator")
		case 1:
			_ = entries[rnd.IntN(len(entries))].ForceRelease(patience, w.Direct(), "", "the operator")
		default:
			_ = entries[0].ForceRelease(patience, w.Direct(), "", "the operator")
		}
		cancel()
	}
}
