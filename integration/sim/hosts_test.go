package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/integration/history"
	"github.com/gotenure/tenure/integration/world"
	"github.com/gotenure/tenure/internal/clock"
	"github.com/gotenure/tenure/session"
)

// A host is one life of a node whose program needs nothing but a session.
type host struct {
	w    *world.World
	node *world.Node
	rnd  *rand.Rand
	name string // differs from life to life
	s    *session.Session
}

// onHosts plays a schedule against programs that live, are stopped or killed, and
// begin anew, and returns what changed in the store below a prefix. A program
// runs until its context ends, and must then return; after a kill its client is
// closed before that. at is called when the calm after the faults is over, with a
// client that nothing disturbs.
func onHosts(t *testing.T, plan world.Schedule, nodes []string, prefix string,
	program func(ctx context.Context, h *host), at func(t *testing.T, w *world.World)) history.History {
	t.Helper()
	var h history.History
	world.Run(t, world.Config{Seed: plan.Seed}, func(t *testing.T, w *world.World) {
		rec := history.NewRecorder(w.Now)
		observer, err := history.Observe(w.Context(), w.Direct(), rec, func(key string) string {
			if len(key) >= len(prefix) && key[:len(prefix)] == prefix {
				return key[len(prefix):]
			}
			return ""
		})
		require.NoError(t, err)
		defer observer.Close()
		w.KeepUp(observer.WaitFor)
		ctx, stop := context.WithCancel(w.Context())
		defer stop()
		for _, name := range nodes {
			w.Go(func() {
				for life := 0; ctx.Err() == nil; life++ {
					liveOn(ctx, w, name, life, program)
				}
			})
		}
		require.NoError(t, w.Play(ctx, plan))
		pause(ctx, calm)
		h = rec.History()
		at(t, w)
		stop()
	})
	return h
}

// liveOn is one life of a host.
func liveOn(ctx context.Context, w *world.World, name string, n int, program func(ctx context.Context, h *host)) {
	h := &host{w: w, node: w.Dial(name), name: fmt.Sprintf("%s-%d", name, n)}
	defer h.node.Close()
	h.rnd = w.RandFor(h.name)
	born, rate := time.Now(), 1+drift*(2*h.rnd.Float64()-1)
	create, cancel := context.WithTimeout(clock.NewContext(context.Background(), clock.Func(func() time.Duration {
		return time.Duration(float64(time.Since(born)) * rate)
	})), 20*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	s, err := session.New(create, h.node.Client(),
		session.WithTTL(time.Duration(1+h.rnd.IntN(5))*time.Second), session.WithName(h.name))
	if err != nil {
		pause(ctx, time.Second)
		return
	}
	h.s = s
	life, die := context.WithTimeout(ctx, upTo(h.rnd, 2*length))
	defer die()
	ended := make(chan struct{})
	running, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		defer close(ended)
		program(running, h)
	}()
	<-life.Done()
	if h.rnd.IntN(2) == 0 {
		h.node.Kill() // with whatever it has
	}
	stop()
	closing, cancelClose := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancelClose()
	_ = s.Close(closing)
	<-ended
	_ = s.Close(context.Background())
}
