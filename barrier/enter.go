package barrier

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
)

// enter comes to an entrance and waits until it is decided. Nil says that the
// party has passed; the arrival then knows the record that says so.
func (g *gate) enter(ctx context.Context, p passage) (*arrival, error) {
	if g.err != nil {
		return nil, g.err
	}
	epoch, err := g.session.Epoch(ctx)
	if err != nil {
		return nil, explain(g.name, err)
	}
	slot, letGo := takeSlot(g.session, g.site)
	a := &arrival{
		gate: g, passage: p, epoch: epoch, self: newParty(g.session),
		key: leasekey.New(epoch, g.site.party(epoch.Lease(), slot)), letGo: letGo,
	}
	a.follow(0)
	defer a.watch.Close()
	bound, unbind := bind(ctx, epoch)
	defer unbind()
	err = a.create(bound)
	if err == nil {
		err = a.await(bound)
	}
	return a, explain(g.name, a.finish(ctx, err))
}

// create makes the party's key, and the gate if there is none.
func (a *arrival) create(ctx context.Context) error {
	for declined := false; ; declined = true {
		if err := a.next(ctx); err != nil {
			return err
		}
		if declined && a.view.mod == a.ticket.after {
			continue // something was decided, and the news of it is under way
		}
		if err := a.admit(ctx); err != nil {
			return err
		}
		a.ticket.after, a.generation = a.view.mod, a.view.record.Generation+1
		created, err := leasekey.Create(ctx, leasekey.Creation{
			Keys:  []*leasekey.Key{a.key},
			Value: a.presence,
			If:    []clientv3.Cmp{a.unchanged()},
			Then:  a.come(),
		})
		switch {
		case err != nil:
			return err
		case created.Done && created.Answers != nil:
			a.arrived(created.Revision, created.Answers[1])
			return a.agree()
		case created.Done:
			// The answer was lost, and with it what it says of the gate.
			a.ticket.at = created.Revision
			if err := retry(ctx, a.look); err != nil {
				return err
			}
			if outcome, _ := a.ticket.verdict(a.view); outcome == waiting {
				return a.agree()
			}
			return nil
		}
	}
}

// agree tells whether the party expects as many as the gate's keeper. The
// keeper does not count those that do not.
func (a *arrival) agree() error {
	if a.view.gate != 0 && a.view.keeper.Parties != a.parties {
		return &PartiesError{Name: a.name, Own: a.parties, Other: a.view.keeper.Parties}
	}
	return nil
}

// admit refuses who need not come: with another number of parties than those
// who wait or are inside, or while others are inside. What the watch has shown
// may be old, so all members are asked before somebody is refused.
func (a *arrival) admit(ctx context.Context) error {
	if a.agree() == nil && a.view.record.Inside == 0 {
		return nil
	}
	if err := retry(ctx, a.look); err != nil {
		return err
	}
	if err := a.agree(); err != nil || a.view.record.Inside == 0 {
		return err
	}
	return retry(ctx, a.vacate)
}

// vacate finds out whether those inside are still there. If all of them have
// gone without anybody to write that down, it does.
func (a *arrival) vacate(ctx context.Context) error {
	txn, cancel := leasekey.Begin(ctx, a.session.Client())
	defer cancel()
	next := a.view.record
	next.Inside = 0
	next.Broken = &breach{After: a.view.mod, Reason: ReasonDied}
	nobody := clientv3.Compare(clientv3.CreateRevision(a.site.parties()), "=", 0).WithPrefix()
	resp, err := txn.
		If(clientv3.Compare(clientv3.ModRevision(a.site.record()), "=", a.view.mod), nobody).
		Then(clientv3.OpPut(a.site.record(), encode(next))).
		Commit()
	switch {
	case err != nil:
		return err
	case resp.Succeeded:
		return a.look(ctx)
	case a.view.record.Inside != a.parties:
		return &PartiesError{Name: a.name, Own: a.parties, Other: a.view.record.Inside}
	}
	return fmt.Errorf("%w: %q: %d are inside", ErrFull, a.name, a.view.record.Inside)
}
