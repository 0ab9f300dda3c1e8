package waitqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
)

// A Bid is an acquisition in steps, by one who has the local turn. If it is
// owned at once there is nothing more to do. Otherwise it goes on with Prepare,
// and then with Enter, or by creating its key together with others and Won. It
// ends with one of these, with Prepare's error, or with Abandon.
type Bid struct {
	queue *Queue
	seat  *seat
	value func() string
	owned *leasekey.Hold
	claim *claim
	local int // how many were ahead in the local queue
}

// Bid waits for the local turn.
func (q *Queue) Bid(ctx context.Context, value func() string) (*Bid, error) {
	for {
		s, letGo := q.seat()
		c, ahead, err := s.take(ctx, letGo)
		if err != nil {
			return nil, fmt.Errorf("in the local queue: %w", err)
		}
		if b := q.bid(ctx, s, c, ahead, value); b != nil {
			return b, nil
		}
	}
}

// bid is the one of a caller who has just got the turn, and perhaps a key with
// it that is owned already. It returns nil, and the turn has ended, if that key
// was taken away on the way.
func (q *Queue) bid(ctx context.Context, s *seat, c *claim, ahead int, value func() string) *Bid {
	b := &Bid{queue: q, seat: s, value: value, local: ahead}
	if c == nil {
		return b
	}
	var err error
	if b.owned, err = q.hold(ctx, c, leasekey.Ahead{Local: ahead}); err != nil {
		if errors.Is(err, leasekey.ErrForced) {
			c.Discard(s.leave)
			return nil
		}
		c.Untrack() // it was lost on the way: the caller has the turn and nothing else
	}
	return b
}

// Owned is the hold that came with the turn, or nil.
func (b *Bid) Owned() *leasekey.Hold { return b.owned }

// Prepare chooses the key to be created.
func (b *Bid) Prepare(ctx context.Context) error {
	epoch, err := b.queue.session.Epoch(ctx)
	if err != nil {
		b.seat.leave()
		return err
	}
	b.claim = &claim{Key: leasekey.New(epoch, keys.Member(b.queue.prefix, epoch.Lease())), seat: b.seat}
	return nil
}

// Key is the key to be created.
func (b *Bid) Key() *leasekey.Key { return b.claim.Key }

// Free is the comparison that holds while nobody owns or waits.
func (b *Bid) Free() clientv3.Cmp { return b.queue.Free() }

// Free is the comparison that holds while nobody owns or waits.
func (q *Queue) Free() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(q.prefix), "=", 0).WithPrefix()
}

// Won makes the caller the owner by the key, which was created while Free held.
func (b *Bid) Won(ctx context.Context) (*leasekey.Hold, error) {
	if err := b.claim.Track(); err != nil {
		b.Abandon()
		return nil, err
	}
	return b.hold(ctx)
}

// Enter creates the key and waits until nobody is ahead of it.
func (b *Bid) Enter(ctx context.Context) (*leasekey.Hold, error) {
	view, err := b.queue.enter(ctx, b.claim, b.value)
	if err == nil {
		err = b.queue.waitTurn(ctx, b.claim, view)
	}
	if err != nil {
		b.Abandon()
		return nil, err
	}
	return b.hold(ctx)
}

func (b *Bid) hold(ctx context.Context) (*leasekey.Hold, error) {
	if err := b.queue.mark(ctx, b.claim); err != nil {
		b.Abandon()
		return nil, err
	}
	b.claim.fresh = time.Now()
	hold, err := b.queue.hold(ctx, b.claim, leasekey.Ahead{Keys: b.claim.ahead, Local: b.local})
	if err != nil {
		b.Abandon()
		return nil, err
	}
	return hold, nil
}

// Abandon gives an owned hold back, or removes what there may be of the key,
// and ends the turn.
func (b *Bid) Abandon() {
	switch {
	case b.owned != nil:
		ctx, cancel := context.WithTimeout(context.Background(), leasekey.AttemptTimeout)
		defer cancel()
		_ = b.owned.Release(ctx) // in the background if need be
	case b.claim == nil:
		b.seat.leave()
	default:
		b.claim.Discard(b.seat.leave)
	}
}
