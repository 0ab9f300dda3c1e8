package waitqueue

import (
	"context"
	"time"

	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/session"
)

// A Queue is a name that sessions queue for. It has no state of its own; all
// that one session does on one prefix meets in the session.
type Queue struct {
	session *session.Session
	prefix  string // ends in a slash
	explain func(error) error

	// retention is how long a key stays after its release while nobody else
	// queues up, so that the next hold of this session costs nothing.
	retention time.Duration

	delay  time.Duration // 0 for none, see Delayed
	marker string
}

// New returns the queue below a prefix that ends in a slash. explain puts the
// reasons for which holds end into the words of the package that uses the
// queue, for the causes of their contexts. A key is retained after its release
// for as long as retention, 0 for not at all.
func New(s *session.Session, prefix string, retention time.Duration, explain func(error) error) *Queue {
	return &Queue{session: s, prefix: prefix, retention: retention, explain: explain}
}

// Prefix is what all keys of the queue begin with.
func (q *Queue) Prefix() string { return q.prefix }

type seatKey struct{ prefix string }

// seat returns the session's seat in the queue, and a function that lets go of
// it.
func (q *Queue) seat() (*seat, func()) {
	value, letGo := q.session.Share(seatKey{q.prefix}, func() any { return new(seat) })
	return value.(*seat), letGo
}

// Acquire waits until the caller owns the name. Among the goroutines of a
// session it is first come first served; among sessions the order is that in
// which their keys were created. The hold's context takes its values from ctx,
// but not its end.
//
// After an error nothing of the attempt is left in etcd, or it is being
// removed. If the epoch or the key was lost while waiting, the error matches
// what Lost reports; the place in the queue is gone then.
func (q *Queue) Acquire(ctx context.Context, value func() string) (*leasekey.Hold, error) {
	b, err := q.Bid(ctx, value)
	if err != nil {
		return nil, err
	}
	if b.Owned() != nil {
		return b.Owned(), nil
	}
	if err := b.Prepare(ctx); err != nil {
		return nil, err
	}
	return b.Enter(ctx)
}

// Try makes the caller the owner if nobody owns or waits, and otherwise
// returns ErrBusy. It never queues up. It costs one transaction, none if a
// goroutine of the same session is ahead.
func (q *Queue) Try(ctx context.Context, value func() string) (*leasekey.Hold, error) {
	s, letGo := q.seat()
	c, ok := s.tryTake(letGo)
	if !ok {
		return nil, ErrBusy
	}
	b := q.bid(ctx, s, c, 0, value)
	if b == nil {
		return nil, ErrBusy
	}
	if b.Owned() != nil {
		return b.Owned(), nil
	}
	if err := b.Prepare(ctx); err != nil {
		return nil, err
	}
	if err := q.enterFree(ctx, b.claim, value); err != nil {
		b.Abandon()
		return nil, err
	}
	return b.Won(ctx)
}
