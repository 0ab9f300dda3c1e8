package world_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/history"
	"github.com/gotenure/tenure/integration/world"
)

const (
	lockPrefix = "locks/"
	lockName   = "orders"
	dataKey    = "data/orders"
)

// A user is a client process that locks, writes and unlocks again and again.
type user struct {
	rec  *history.Recorder
	node *world.Node
	rnd  *rand.Rand
}

// quiet is how long a simulation goes on without faults: most of what hangs
// shows only when a client is connected for longer than a schedule leaves it.
const quiet = 40 * time.Second

// simulate plays one schedule against users that use one session after another.
func simulate(t *testing.T, s world.Schedule, nodes []string, session func(*user, context.Context)) history.History {
	t.Helper()
	var h history.History
	world.Run(t, world.Config{Seed: s.Seed}, func(t *testing.T, w *world.World) {
		rec := history.NewRecorder(w.Now)
		observer, err := history.Observe(w.Context(), w.Direct(), rec, history.Under(lockPrefix))
		require.NoError(t, err)
		defer observer.Close()
		w.KeepUp(observer.WaitFor)
		w.OnLink(rec.Link)
		ctx, stop := context.WithCancel(w.Context())
		for _, name := range nodes {
			u := &user{rec: rec, node: w.Dial(name), rnd: w.RandFor(name)}
			w.Go(func() {
				for ctx.Err() == nil {
					session(u, ctx)
				}
			})
		}
		require.NoError(t, w.Play(ctx, s), s)
		pause(ctx, quiet)
		h = rec.History()
		stop()
	})
	return h
}

// write puts the mark of the write, guarded by the ownership of the belief.
func (u *user) write(ctx context.Context, b *history.Belief, guard clientv3.Cmp) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	w := b.Write()
	answer, err := u.node.Client().Txn(ctx).If(guard).Then(clientv3.OpPut(dataKey, w.Mark())).Commit()
	switch {
	case err != nil:
		w.Unknown(err)
	case answer.Succeeded:
		w.Committed(answer.Header.Revision)
	default:
		w.Refused()
	}
}

func (u *user) upTo(d time.Duration) time.Duration { return time.Duration(u.rnd.Int64N(int64(d))) }

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
