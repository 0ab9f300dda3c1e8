package admission

import (
	"context"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
)

// A Bid is an acquisition of a reader-writer lock in steps: by itself with
// Enter, or by creating its key together with others and then Won. It ends with
// one of these, or with Abandon.
type Bid struct {
	queue *RW
	side  Side
	value func() string
	place *place
}

// Bid begins an acquisition. It does no I/O unless the session has no lease at
// present.
func (q *RW) Bid(ctx context.Context, side Side, value func() string) (*Bid, error) {
	epoch, err := q.session.Epoch(ctx)
	if err != nil {
		return nil, err
	}
	return &Bid{queue: q, side: side, value: sync.OnceValue(value), place: q.begin(epoch, string(side))}, nil
}

// Key is the key to be created.
func (b *Bid) Key() *leasekey.Key { return b.place.Key }

// Free is the comparison that holds while nobody is in the way. A writer that
// has become a reader still counts.
func (b *Bid) Free() clientv3.Cmp {
	inTheWay := b.queue.prefix
	if b.side == Read {
		inTheWay += writers
	}
	return clientv3.Compare(clientv3.CreateRevision(inTheWay), "=", 0).WithPrefix()
}

// Won makes the caller the holder by the key, which was created while Free held.
func (b *Bid) Won(ctx context.Context) (*RWHold, error) {
	err := b.place.Track()
	if err != nil {
		b.Abandon()
		return nil, err
	}
	return b.hold(ctx)
}

// Enter creates the key and waits until it is admitted.
func (b *Bid) Enter(ctx context.Context) (*RWHold, error) {
	if err := b.queue.enter(ctx, b.place, b.side, b.value); err != nil {
		b.Abandon()
		return nil, err
	}
	return b.hold(ctx)
}

func (b *Bid) hold(ctx context.Context) (*RWHold, error) {
	guard := clientv3.Compare(clientv3.ModRevision(b.place.Name()), "=", b.place.Revision())
	hold, err := b.queue.hold(ctx, b.place, 0, guard)
	if err != nil {
		b.Abandon()
		return nil, err
	}
	return &RWHold{Hold: hold, queue: b.queue, place: b.place, value: b.value}, nil
}

// Abandon removes what there may be of the key.
func (b *Bid) Abandon() { b.place.Discard(b.place.free) }
