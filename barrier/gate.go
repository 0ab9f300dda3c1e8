package barrier

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/prefixwatch"
	"github.com/gotenure/tenure/session"
)

// MaxParties is the largest number of parties: one transaction lets them all
// pass.
const MaxParties = 1000

// A gate is what Cyclic and Double have in common: a place where parties wait
// for each other. It has no state of its own.
type gate struct {
	session *session.Session
	name    string
	site    site
	parties int
	err     error // why it cannot be used
}

func newGate(s *session.Session, kind, name string, parties int) gate {
	g := gate{session: s, name: name, parties: parties}
	g.site, g.err = findSite(s, kind, name)
	if g.err == nil && (parties < 1 || parties > MaxParties) {
		g.err = fmt.Errorf("%w: %d parties are not between 1 and %d", ErrCount, parties, MaxParties)
	}
	return g
}

// A passage is what a gate is for.
type passage struct {
	exit  bool // of those inside; otherwise it is an entrance
	stays bool // the key of who has passed stays where it is
	// judge makes what the keeper decides by.
	judge func(ctx context.Context, gate int64) (judge, error)
	// action is run by the keeper before it opens, if it is not nil.
	action func(ctx context.Context, generation int64) error
	// opened is the next record when these pass, but for its opening, and what
	// else the opening does.
	opened func(r record, all []member) (record, []clientv3.Op)
}

// An arrival is a party on its way through a gate. One goroutine uses it; the
// keeper has one of its own, which reads what does not change any more.
type arrival struct {
	*gate
	passage passage
	epoch   *session.Epoch
	self    Party
	key     *leasekey.Key
	letGo   func() // gives the key's name back, once it certainly does not exist
	watch   *prefixwatch.Watch

	seen       view   // what the watch has told
	view       view   // the newest that is known, by the watch, a read or an answer
	ticket     ticket // at is 0 until the arrival is certain
	generation int64  // the number of the one that is to pass, or that is inside
}

// follow begins to watch the gate, as it is at revision from or later.
func (a *arrival) follow(from int64) {
	a.watch = prefixwatch.Open(a.epoch.Context(), a.session.Client(), prefixwatch.Config{
		Key: a.site.gates(), Prefix: true, From: from, Probe: a.epoch.TTL(),
	})
}

// next waits for news of the gate.
func (a *arrival) next(ctx context.Context) error {
	update, err := a.watch.Next(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return err
	}
	for _, ev := range update.Events {
		a.seen.apply(a.site, ev)
	}
	a.seen.rev = update.Revision
	a.view.supersede(a.seen)
	return nil
}

// look reads the gate, by a quorum. It is one attempt.
func (a *arrival) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, prefixwatch.ReadTimeout)
	defer cancel()
	resp, err := a.session.Client().Get(ctx, a.site.gates(), clientv3.WithPrefix())
	if err != nil {
		return err
	}
	a.view.supersede(viewOf(a.site, resp.Kvs, resp.Header.Revision))
	return nil
}

// unchanged is the comparison that holds while nothing was decided since the
// ticket.
func (a *arrival) unchanged() clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(a.site.record()), "=", a.ticket.after)
}

// presence is the value of the party's key.
func (a *arrival) presence() string {
	return encode(presence{Party: a.self, Key: a.key.Name(), Parties: a.parties, Leaving: a.passage.exit})
}

// come makes the gate if there is none, within the transaction of an arrival,
// and reads it. Whoever made it is its keeper.
func (a *arrival) come() []clientv3.Op {
	absent := clientv3.Compare(clientv3.CreateRevision(a.site.gate()), "=", 0)
	put := clientv3.OpPut(a.site.gate(), a.presence(), clientv3.WithLease(a.epoch.Lease()))
	return []clientv3.Op{
		clientv3.OpTxn([]clientv3.Cmp{absent}, []clientv3.Op{put}, nil),
		clientv3.OpGet(a.site.gate()),
	}
}

// arrived takes an arrival's answer in: the gate as it was then. The record is
// the one that was compared.
func (a *arrival) arrived(at int64, gate *clientv3.GetResponse) {
	a.ticket.at = at
	if len(gate.Kvs) == 1 {
		a.ticket.keeper = decode[presence](gate.Kvs[0])
		now := a.view // but for the gate it is as it was compared
		now.set(a.site, a.site.gate(), gate.Kvs[0], false)
		now.rev = at
		a.view.supersede(now)
	}
}

// await waits until the ticket's gate is decided. While this party is the
// gate's keeper, it decides.
func (a *arrival) await(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	close(over)
	defer func() { cancel(nil); <-over }()
	for kept := false; ; {
		// A view that is older than the arrival says nothing about it.
		if a.view.rev >= a.ticket.at {
			if outcome, _ := a.ticket.verdict(a.view); outcome != waiting {
				return nil
			}
			a.ticket.keeper = a.view.keeper
			if a.view.gate == a.ticket.at && !kept {
				kept, over = true, make(chan struct{})
				k := a.keeper()
				go func() {
					defer close(over)
					if err := k.keep(ctx); err != nil {
						cancel(err)
					}
				}()
			}
		}
		if err := a.next(ctx); err != nil {
			return err
		}
	}
}

// bind returns a context that also ends with the epoch, with its cause.
func bind(ctx context.Context, epoch *session.Epoch) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(epoch.Context(), func() { cancel(context.Cause(epoch.Context())) })
	return ctx, func() { unhook(); cancel(nil) }
}

// retry repeats an attempt until it succeeds, ctx ends, or it has failed for
// something other than etcd's being out of reach.
func retry(ctx context.Context, attempt func(context.Context) error) error {
	for failures := 0; ; failures++ {
		err := attempt(ctx)
		if err == nil || final(err) {
			return err
		}
		leasekey.Pause(ctx, failures)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func final(err error) bool {
	var parties *PartiesError
	return leasekey.Refused(err) || errors.Is(err, ErrFull) || errors.As(err, &parties)
}
