package waitqueue

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/prefixwatch"
)

// A keeper looks after a key that stays in etcd while nobody holds it, so that
// the next one here finds it there. It gives the key back as soon as somebody
// else queues up or asks for it, or when nobody here has wanted it for a while.
type keeper struct{ idle *time.Timer }

// keep leaves a key that was just released where it is, and ends the caller's
// turn. It returns false if the key has to go.
func (q *Queue) keep(c *claim) bool {
	if q.retention == 0 {
		return false
	}
	if c.keeper == nil {
		c.keeper = q.startKeeper(c)
	}
	c.keeper.idle.Reset(q.retention)
	return c.seat.keep(c)
}

func (q *Queue) startKeeper(c *claim) *keeper {
	watched, stop := context.WithCancel(c.Epoch().Context())
	k := &keeper{}
	k.idle = time.AfterFunc(q.retention, func() {
		if c.seat.keeps(c) {
			stop()
		}
	})
	s, letGo := q.seat() // the seat outlives its users while it has a key
	c.Epoch().Background(func(ctx context.Context) {
		defer stop()
		defer k.idle.Stop()
		c.OnAsk(stop)
		q.awaitOthers(watched, c)
		// If somebody holds the key by now, that one's release gives it back.
		if s.reclaim(c, letGo) {
			_ = c.Release(ctx, s.leave) // fails only if the lease takes the key along
		}
	})
	return k
}

// awaitOthers returns when another session has a key in the queue, when the
// own one is gone, or when ctx ends. A watch that etcd refuses is no reason to
// keep the key.
func (q *Queue) awaitOthers(ctx context.Context, c *claim) {
	watch := prefixwatch.Open(ctx, q.session.Client(), prefixwatch.Config{
		Key: q.prefix, Prefix: true, KeysOnly: true, From: c.Revision(), Probe: c.Epoch().TTL(),
	})
	defer watch.Close()
	for {
		update, err := watch.Next(ctx)
		if err != nil {
			return
		}
		for _, ev := range update.Events {
			own := string(ev.Kv.Key) == c.Name()
			if own == (ev.Type == clientv3.EventTypeDelete) {
				return
			}
		}
	}
}
