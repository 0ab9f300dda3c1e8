package barrier

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/prefixwatch"
)

// A keeper is the first party at a gate: the one that follows who comes and who
// goes, and that decides. If it dies, its gate goes with its lease, and that
// decides as well: nobody opens a gate that is not there.
type keeper struct {
	*gate
	passage passage
	ticket  ticket
	record  record // the one that the decision replaces
	self    Party
	key     string // its own
	work    func() (done func())
	probe   prefixwatch.Config
}

func (a *arrival) keeper() *keeper {
	return &keeper{
		gate: a.gate, passage: a.passage, ticket: a.ticket, record: a.view.record,
		self: a.self, key: a.key.Name(), work: a.epoch.Work,
		probe: prefixwatch.Config{Key: a.site.parties(), Prefix: true, From: a.ticket.at, Probe: a.epoch.TTL()},
	}
}

// keep decides, and returns once that was answered or ctx has ended: then the
// gate's watch has told the verdict, or the party gives up. An error is one
// that trying again will not change.
func (k *keeper) keep(ctx context.Context) error {
	judge, err := k.passage.judge(ctx, k.ticket.at)
	if err != nil {
		return err
	}
	watch := prefixwatch.Open(ctx, k.session.Client(), k.probe)
	defer watch.Close()
	act := newAction(ctx, k.work, k.passage.action, k.record.Generation+1)
	defer act.stop()
	for now := (members{}); ; {
		update, err := watch.Next(act.ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && act.ctx.Err() == nil:
			return err
		}
		for _, ev := range update.Events {
			now.apply(ev)
		}
		d := judge.judge(now)
		switch {
		case d.gone != nil:
			act.stop()
			return k.deny(ctx, breach{By: d.gone.Party, Key: d.gone.Key, Reason: ReasonDied})
		case d.open == nil || !act.ended():
		case act.err != nil:
			return k.deny(ctx, breach{By: k.self, Key: k.key, Reason: ReasonAction, Text: act.err.Error()})
		default:
			return k.open(ctx, d.open)
		}
	}
}

// open lets these parties pass.
func (k *keeper) open(ctx context.Context, all []member) error {
	next, ops := k.passage.opened(k.record, all)
	o := &opening{After: k.ticket.after, Gate: k.ticket.at}
	for _, m := range all {
		o.Last = max(o.Last, m.create)
		if k.passage.exit {
			o.Last = max(o.Last, m.mod)
		}
	}
	next.Opened = o
	return k.decide(ctx, next, ops)
}

// deny sends everybody away.
func (k *keeper) deny(ctx context.Context, b breach) error {
	b.After, b.Gate = k.ticket.after, k.ticket.at
	next := k.record
	next.Inside, next.Broken = 0, &b
	return k.decide(ctx, next, nil)
}

// decide replaces the record and removes the gate, if both are those of the
// ticket. However often it is repeated, or applied late, it takes effect once,
// and not after another decision.
func (k *keeper) decide(ctx context.Context, next record, ops []clientv3.Op) error {
	then := append(chunks(ops),
		clientv3.OpPut(k.site.record(), encode(next)),
		clientv3.OpDelete(k.site.gate()),
	)
	for failures := 0; ctx.Err() == nil; failures++ {
		txn, cancel := leasekey.Begin(ctx, k.session.Client())
		_, err := txn.If(
			clientv3.Compare(clientv3.ModRevision(k.site.record()), "=", k.ticket.after),
			clientv3.Compare(clientv3.CreateRevision(k.site.gate()), "=", k.ticket.at),
		).Then(then...).Commit()
		cancel()
		switch {
		case err == nil:
			return nil // whoever decided: the watch tells
		case leasekey.Refused(err):
			return fmt.Errorf("decide: %w", err)
		}
		leasekey.Pause(ctx, failures)
	}
	return nil
}

// chunks nests operations so that each level has no more than etcd allows for:
// 128, less those of the level above.
func chunks(ops []clientv3.Op) []clientv3.Op {
	const most = 100
	if len(ops) <= most {
		return ops
	}
	var nested []clientv3.Op
	for len(ops) > 0 {
		n := min(most, len(ops))
		nested = append(nested, clientv3.OpTxn(nil, ops[:n], nil))
		ops = ops[n:]
	}
	return nested
}

// removal deletes the parties' keys. It is how a party that was cut off learns
// later that it has passed: nobody else deletes the key of a live party.
func removal(all []member) []clientv3.Op {
	ops := make([]clientv3.Op, len(all))
	for i, m := range all {
		ops[i] = clientv3.OpDelete(m.Key)
	}
	return ops
}
