package admission

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/session"
)

// ErrBusy is returned by attempts that do not wait: it would have been
// necessary.
var ErrBusy = errors.New("busy")

// What the keys of readers and writers begin with, behind the prefix.
const (
	readers = "r/"
	writers = "w/"
)

// A Side is that of readers or that of writers.
type Side string

// The sides of a reader-writer lock.
const (
	Read  Side = readers
	Write Side = writers
)

// RW is the queue of a reader-writer lock. It has no state.
type RW struct{ line }

// NewRW returns the queue below a prefix that ends in a slash. explain puts the
// reasons for which holds end into the words of the package above.
func NewRW(s *session.Session, prefix string, explain func(error) error) *RW {
	return &RW{line{session: s, prefix: prefix, explain: explain}}
}

// Prefix is what all keys of the queue begin with.
func (q *RW) Prefix() string { return q.prefix }

// An RWHold is a hold of one of the sides.
type RWHold struct {
	*leasekey.Hold
	queue *RW
	place *place
	value func() string
}

// Acquire waits until the caller may read or write. The hold's context takes
// its values from ctx, but not its end. After an error nothing of the attempt
// is left in etcd, or it is being removed.
//
// It costs one transaction if nobody is in the way, and otherwise a watch and
// at most one read more for each key that was.
func (q *RW) Acquire(ctx context.Context, side Side, value func() string) (*RWHold, error) {
	b, err := q.Bid(ctx, side, value)
	if err != nil {
		return nil, err
	}
	return b.Enter(ctx)
}

// Try makes the caller the holder if it need not wait, and otherwise returns
// ErrBusy. It never queues up.
func (q *RW) Try(ctx context.Context, side Side, value func() string) (*RWHold, error) {
	b, err := q.Bid(ctx, side, value)
	if err != nil {
		return nil, err
	}
	for free := b.Free(); ; {
		created, err := leasekey.Create(ctx, leasekey.Creation{
			Keys: []*leasekey.Key{b.Key()}, Value: value,
			If:   []clientv3.Cmp{free},
			Else: []clientv3.Op{clientv3.OpGet(q.prefix+writers, clientv3.WithPrefix(), clientv3.WithKeysOnly())},
		})
		switch {
		case err != nil:
			b.Abandon()
			return nil, err
		case created.Done:
			return b.Won(ctx)
		case side == Write || read(q.ahead(created.Answers[0].Kvs, created.Revision+1)).Do != Admitted:
			b.Abandon()
			return nil, ErrBusy
		}
		// All the writers there are have become readers, for good. Nobody is in
		// the way unless another one comes.
		free = clientv3.Compare(clientv3.CreateRevision(q.prefix+writers), "<", created.Revision+1).WithPrefix()
	}
}

// enter creates the key and waits until it is admitted.
func (q *RW) enter(ctx context.Context, p *place, side Side, value func() string) error {
	front := q.prefix
	if side == Read {
		front += writers
	}
	created, err := leasekey.Create(ctx, leasekey.Creation{
		Keys: []*leasekey.Key{p.Key}, Value: value,
		Then: []clientv3.Op{clientv3.OpGet(front, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(frontLimit))},
	})
	if err != nil {
		return err
	}
	if err := p.Track(); err != nil {
		return err
	}
	step := Step{Do: Look}
	p.ahead = others(created, side == Write)
	if created.Answers != nil && !created.Answers[0].More {
		ahead := q.ahead(created.Answers[0].Kvs, p.Revision())
		if step = write(ahead, true); side == Read {
			step = read(ahead)
		}
	}
	return q.wait(ctx, p, side, step, created.Revision)
}

// wait waits until the key is admitted. rev is the revision of what step was
// decided on.
func (q *RW) wait(ctx context.Context, p *place, side Side, step Step, rev int64) error {
	if step.Do == Admitted {
		return nil
	}
	ctx, cancel, err := p.watching(ctx)
	if err != nil {
		return err
	}
	defer cancel(nil)
	for {
		switch step.Do {
		case Admitted:
			return nil
		case Look:
			if step, rev, err = q.look(ctx, p, side, rev); err != nil {
				return err
			}
		case Await:
			var gone bool
			if rev, gone, err = q.await(ctx, p.Epoch(), step.Behind, rev); err != nil {
				return err
			}
			// A key that was written again is still there, and reads now: that is
			// nothing to a reader, and to a writer no less in the way.
			if step.Alone && (gone || side == Read) {
				return nil
			}
			step.Do = Look
		}
	}
}

// look reads who is ahead, at revision rev or later, and decides. A writer
// needs to know the nearest two, a reader all writers, some of which may read
// by now.
func (q *RW) look(ctx context.Context, p *place, side Side, rev int64) (Step, int64, error) {
	ahead := []clientv3.OpOption{
		clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithMaxCreateRev(p.Revision() - 1),
	}
	front := q.prefix + writers
	if side == Write {
		front = q.prefix
		ahead = append(ahead, clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend), clientv3.WithLimit(2))
	}
	resp, err := q.read(ctx, rev, clientv3.OpGet(p.Name(), clientv3.WithKeysOnly()), clientv3.OpGet(front, ahead...))
	if err != nil {
		return Step{}, 0, err
	}
	own, others := resp.Responses[0].GetResponseRange(), resp.Responses[1].GetResponseRange()
	if len(own.Kvs) == 0 || own.Kvs[0].CreateRevision != p.Revision() {
		return Step{}, 0, p.Missing(ctx)
	}
	keys := q.ahead(others.Kvs, p.Revision())
	if side == Read {
		return read(keys), resp.Header.Revision, nil
	}
	return write(keys, !others.More), resp.Header.Revision, nil
}

// Downgrade makes a writer's hold a reader's, and nobody writes in between. The
// writer's hold has ended before anything is sent. After an error nothing is
// held, and the key is being removed.
func (h *RWHold) Downgrade(ctx context.Context) (*RWHold, error) {
	q, p := h.queue, h.place
	if !h.End(leasekey.ErrReleased) {
		return nil, h.Err()
	}
	_ = p.OnLoss(nil) // if it is lost from here on, hold says so
	p.ahead = 0
	rev, err := h.rewrite(ctx)
	if err != nil {
		p.Discard(p.free)
		return nil, err
	}
	guard := clientv3.Compare(clientv3.ModRevision(p.Name()), "=", rev)
	hold, err := q.hold(h.Context(), p, h.Serial()+1, guard) // for its values
	if err != nil {
		p.Discard(p.free) // it is gone, or was taken away
		return nil, err
	}
	return &RWHold{Hold: hold, queue: q, place: p, value: h.value}, nil
}

// rewrite writes the key again, once, and returns the revision at which that
// happened, trying until ctx ends.
func (h *RWHold) rewrite(ctx context.Context) (int64, error) {
	p := h.place
	unwritten := clientv3.Compare(clientv3.ModRevision(p.Name()), "=", p.Revision())
	put := clientv3.OpPut(p.Name(), h.value(), clientv3.WithLease(p.Epoch().Lease()))
	get := clientv3.OpGet(p.Name(), clientv3.WithKeysOnly())
	for failures := 0; ; failures++ {
		txn, cancel := leasekey.Begin(ctx, h.queue.session.Client())
		resp, err := txn.If(unwritten).Then(put).Else(get).Commit()
		cancel()
		switch {
		case err == nil && resp.Succeeded:
			return resp.Header.Revision, nil
		case err == nil:
			kvs := resp.Responses[0].GetResponseRange().Kvs
			if len(kvs) == 1 && kvs[0].CreateRevision == p.Revision() {
				return kvs[0].ModRevision, nil // by an attempt that was not answered
			}
			return 0, p.Missing(ctx)
		}
		p.Epoch().Report(err)
		if err := p.Epoch().Err(); err != nil {
			return 0, err
		}
		leasekey.Pause(ctx, failures)
		if ctx.Err() != nil {
			return 0, fmt.Errorf("%w (last attempt: %w)", context.Cause(ctx), err)
		}
	}
}
