package barrier

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/prefixwatch"
	"github.com/gotenure/tenure/session"
)

// A Double lets so many parties begin something together and end it together.
//
// Each call of Enter is one party. A Double has no state of its own and is safe
// for concurrent use.
type Double struct{ gate }

// NewDouble returns the double barrier of that name for 1 to MaxParties parties.
// It does no I/O. A name or a number that cannot be used makes every method
// return an error that matches ErrName or ErrCount.
func NewDouble(s *session.Session, name string, parties int) *Double {
	return &Double{gate: newGate(s, "double", name, parties)}
}

// Name returns the name that the barrier was made with.
func (d *Double) Name() string { return d.name }

// Enter waits until all parties have come, and lets them in. ctx bounds the
// waiting only.
//
// It returns a *BrokenError if a party dies or gives up before all have come;
// ErrFull if the parties are inside already, or complete without this one;
// ErrParties if they have another number; ErrLost if the session was lost or
// closed; and an error that wraps the cause of ctx if that ended. After an error
// nothing of the call is left in etcd, or it is being removed.
//
// It costs one transaction, one watch and one read, and for the first party two
// more of these and a transaction for everybody.
func (d *Double) Enter(ctx context.Context) (*Entry, error) {
	a, err := d.enter(ctx, passage{
		stays: true,
		judge: func(_ context.Context, gate int64) (judge, error) {
			return &entrance{gate: gate, parties: d.parties}, nil
		},
		opened: func(r record, all []member) (record, []clientv3.Op) {
			r.Generation++
			r.Inside = d.parties
			return r, []clientv3.Op{clientv3.OpPut(d.site.roll(), rollOf(all))}
		},
	})
	if err != nil {
		return nil, err
	}
	return newEntry(ctx, a), nil
}

// Status returns who waits or is inside at present. It costs one linearizable
// range.
func (d *Double) Status(ctx context.Context) (Status, error) { return d.status(ctx) }

func rollOf(all []member) string {
	roll := make([]entered, len(all))
	for i, m := range all {
		roll[i] = entered{Party: m.Party, Key: m.Key, Create: m.create}
	}
	return encode(roll)
}

// An Entry is a party that is inside of a Double. It belongs to the epoch of the
// session in which it entered.
type Entry struct {
	arrival *arrival // at the entrance
	ctx     context.Context
	cancel  context.CancelCauseFunc
	unhook  func() bool
	left    atomic.Bool
}

func newEntry(ctx context.Context, a *arrival) *Entry {
	e := &Entry{arrival: a}
	e.ctx, e.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	e.unhook = context.AfterFunc(a.epoch.Context(), func() {
		e.cancel(explain(a.name, context.Cause(a.epoch.Context())))
	})
	return e
}

// Context ends when the party calls Leave, or when its session is lost or
// closed: the others are told then that it died. Its values are those of the
// context that was given to Enter.
func (e *Entry) Context() context.Context { return e.ctx }

// Generation is the number of those inside: how often parties have been let in,
// over the whole life of the name.
func (e *Entry) Generation() int64 { return e.arrival.generation }

// Leave waits until all who are inside want to leave, and returns nil to all of
// them then.
//
// If one of them has died inside or dies on the way out, or gives up, everybody
// gets a *BrokenError, which names it and matches ErrBroken, as soon as the first
// has called Leave. The caller is outside then all the same. It returns ErrLost
// if the session was lost or closed, ErrLeft after the first call, and an error
// that wraps the cause of ctx if that ended: the caller has given up then.
//
// It costs one transaction, one watch and one read, and for the first party
// three more of these and a transaction for everybody.
func (e *Entry) Leave(ctx context.Context) error {
	if !e.left.CompareAndSwap(false, true) {
		return ErrLeft
	}
	defer e.cancel(ErrLeft)
	defer e.unhook()
	in := e.arrival
	x := &arrival{
		gate: in.gate, epoch: in.epoch, self: in.self, key: in.key, letGo: in.letGo, generation: in.generation,
		view: in.view, ticket: ticket{after: in.view.mod},
	}
	x.passage = passage{
		exit:  true,
		judge: x.readRoll,
		opened: func(r record, all []member) (record, []clientv3.Op) {
			r.Inside = 0
			return r, append(removal(all), clientv3.OpDelete(x.site.roll()))
		},
	}
	bound, unbind := bind(ctx, x.epoch)
	defer unbind()
	var err error
	if in.view.record.Inside == 0 {
		// Somebody had died before this one heard that it was let in.
		x.ticket.after = in.view.record.brokenAfter()
	} else if err = x.mark(bound); err == nil && x.ticket.at > 0 {
		x.follow(x.ticket.at)
		defer x.watch.Close()
		err = x.await(bound)
	}
	return explain(x.name, x.finish(ctx, err))
}

// brokenAfter is the revision of the record that the last breach replaced.
func (r record) brokenAfter() int64 {
	if r.Broken == nil {
		return 0
	}
	return r.Broken.After
}

// mark comes to the exit: it says so in the party's key. If the round is over
// already, or the answer is that of an attempt before, the view and the ticket
// say it.
func (a *arrival) mark(ctx context.Context) error {
	return retry(ctx, func(ctx context.Context) error {
		txn, cancel := leasekey.Begin(ctx, a.session.Client())
		defer cancel()
		// A key that is marked has a larger mod revision: so it is done once.
		unmarked := clientv3.Compare(clientv3.ModRevision(a.key.Name()), "=", a.key.Revision())
		put := clientv3.OpPut(a.key.Name(), a.presence(), clientv3.WithLease(a.epoch.Lease()))
		resp, err := txn.
			If(a.unchanged(), unmarked).
			Then(append([]clientv3.Op{put}, a.come()...)...).
			Else(
				clientv3.OpGet(a.site.gates(), clientv3.WithPrefix()),
				clientv3.OpGet(a.key.Name(), clientv3.WithKeysOnly()),
			).
			Commit()
		if err != nil {
			return err
		}
		at := resp.Header.Revision
		if resp.Succeeded {
			a.arrived(at, (*clientv3.GetResponse)(resp.Responses[2].GetResponseRange()))
			return nil
		}
		a.view.supersede(viewOf(a.site, resp.Responses[0].GetResponseRange().Kvs, at))
		own := resp.Responses[1].GetResponseRange().Kvs
		if len(own) == 1 && own[0].CreateRevision == a.key.Revision() && own[0].ModRevision > a.key.Revision() {
			a.ticket.at = own[0].ModRevision
		}
		if a.view.mod == a.ticket.after && a.ticket.at == 0 {
			return &session.KeyError{Key: a.key.Name(), Revision: a.key.Revision()}
		}
		return nil
	})
}

// readRoll reads who was let in.
func (a *arrival) readRoll(ctx context.Context, _ int64) (judge, error) {
	x := &exit{}
	err := retry(ctx, func(ctx context.Context) error {
		resp, err := prefixwatch.ReadAtLeast(ctx, a.session.Client(), a.ticket.after, a.site.roll())
		if err != nil {
			return err
		}
		if len(resp.Kvs) == 0 || json.Unmarshal(resp.Kvs[0].Value, &x.inside) != nil {
			return fmt.Errorf("%w: %q has no readable roll", ErrLost, a.name)
		}
		return nil
	})
	return x, err
}
