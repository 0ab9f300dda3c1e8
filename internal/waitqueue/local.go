package waitqueue

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/prefixwatch"
)

const (
	// localTime is for how long a session's goroutines may hand the key to one
	// another before it is found out whether somebody else waits. If so, the key
	// is given up, so another session waits for that time and one hold more, at
	// the most.
	localTime = 50 * time.Millisecond

	// maxSerial bounds the holds of one key, because the serial is part of the
	// fencing token.
	maxSerial = 1 << 16
)

// passOn gives a key that was just released to the next goroutine of this
// session that waits, without a word to etcd. It returns false if nobody waits
// here, or if it is the turn of somebody elsewhere.
func (q *Queue) passOn(ctx context.Context, c *claim) bool {
	if !c.seat.wanted() {
		return false
	}
	if c.keeper != nil {
		return c.seat.handOn(c) // the keeper would have seen somebody else
	}
	if time.Since(c.fresh) > localTime {
		if !q.nobodyElse(ctx, c) {
			return false
		}
		c.fresh = time.Now()
	}
	return c.seat.handOn(c)
}

// nobodyElse tells whether no other session has a key in the queue.
func (q *Queue) nobodyElse(ctx context.Context, c *claim) bool {
	resp, err := prefixwatch.ReadAtLeast(ctx, q.session.Client(), c.Revision(), q.prefix,
		clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(2))
	return err == nil && len(resp.Kvs) == 1 && resp.Kvs[0].CreateRevision == c.Revision()
}
