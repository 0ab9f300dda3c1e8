package barrier

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/session"
)

// A Cyclic lets so many parties wait for each other again and again: one
// generation after the other passes.
//
// Each call of Await is one party, wherever it comes from: another process,
// another session, another goroutine. A Cyclic has no state of its own and is
// safe for concurrent use.
type Cyclic struct {
	gate
	action func(ctx context.Context, generation int64) error
}

// A CyclicOption changes what a Cyclic does.
type CyclicOption func(*Cyclic)

// WithAction has exactly one of the parties run f when all have come and before
// any of them passes. If it fails, or panics, nobody passes and the generation
// is broken. Its context ends when the party that runs it gives up or loses its
// session, or when another party dies; the generation is broken then as well.
//
// For a generation that passes, one call of f has returned nil. A broken
// attempt may have run f too, as may one whose runner was cut off in that very
// moment: what it does should bear to be done again. All parties should give an
// equal f, because it is not known beforehand who will run it.
func WithAction(f func(ctx context.Context, generation int64) error) CyclicOption {
	return func(c *Cyclic) { c.action = f }
}

// NewCyclic returns the cyclic barrier of that name for 1 to MaxParties parties.
// It does no I/O. A name or a number that cannot be used makes every method
// return an error that matches ErrName or ErrCount.
func NewCyclic(s *session.Session, name string, parties int, opts ...CyclicOption) *Cyclic {
	c := &Cyclic{gate: newGate(s, "cyclic", name, parties)}
	for _, opt := range opts {
		opt(c)
	}
	return c
}

// Name returns the name that the barrier was made with.
func (c *Cyclic) Name() string { return c.name }

// Await waits until all parties have come, and returns the number of the
// generation that they are. Numbers count those that passed, from 1, over the
// whole life of the name.
//
// If a party dies or gives up before all have come, everybody who waits gets a
// *BrokenError, which names it and matches ErrBroken; the parties of one
// generation pass together or all get that. The barrier can be used again at
// once: the next attempt has the same number. Other errors are ErrParties if
// others wait with another number of parties, ErrFull if this one is one too
// many, ErrLost if the session was lost or closed, and one that wraps the cause
// of ctx if that ended: the caller has given up then. If etcd cannot be reached
// in that moment the others may have passed, and cannot know.
//
// After an error nothing of the call is left in etcd, or it is being removed.
//
// It costs one transaction, one watch and one read, and for the first party to
// come two more of these and a transaction for everybody. The decision is one
// event that wakes all.
func (c *Cyclic) Await(ctx context.Context) (generation int64, err error) {
	a, err := c.enter(ctx, passage{
		judge: func(_ context.Context, gate int64) (judge, error) {
			return &entrance{gate: gate, parties: c.parties}, nil
		},
		action: c.action,
		opened: func(r record, all []member) (record, []clientv3.Op) {
			r.Generation++
			return r, removal(all)
		},
	})
	if err != nil {
		return 0, err
	}
	return a.generation, nil
}

// Reset breaks the generation that waits at present, if there is one: its
// parties get ErrBroken. It costs a read and a transaction.
func (c *Cyclic) Reset(ctx context.Context) error {
	if c.err != nil {
		return c.err
	}
	epoch, err := c.session.Epoch(ctx)
	if err != nil {
		return explain(c.name, err)
	}
	a := &arrival{gate: &c.gate, epoch: epoch, self: newParty(c.session)}
	if err := retry(ctx, a.look); err != nil {
		return explain(c.name, err)
	}
	gate := a.view.gate
	for failures := 0; gate != 0 && a.view.gate == gate; failures++ {
		done, err := a.resetOnce(ctx)
		switch {
		case done:
			return nil
		case final(err):
			return explain(c.name, err)
		case err != nil:
			leasekey.Pause(ctx, failures)
		}
		if ctx.Err() != nil {
			return explain(c.name, fmt.Errorf("reset: %w", context.Cause(ctx)))
		}
		if err := retry(ctx, a.look); err != nil {
			return explain(c.name, err)
		}
	}
	return nil
}

func (a *arrival) resetOnce(ctx context.Context) (done bool, err error) {
	next := a.view.record
	next.Broken = &breach{After: a.view.mod, Gate: a.view.gate, By: a.self, Reason: ReasonReset}
	txn, cancel := leasekey.Begin(ctx, a.session.Client())
	defer cancel()
	resp, err := txn.
		If(clientv3.Compare(clientv3.ModRevision(a.site.record()), "=", a.view.mod),
			clientv3.Compare(clientv3.CreateRevision(a.site.gate()), "=", a.view.gate)).
		Then(clientv3.OpPut(a.site.record(), encode(next)), clientv3.OpDelete(a.site.gate())).
		Commit()
	return err == nil && resp.Succeeded, err
}

// Status returns who waits at present. It costs one linearizable range.
func (c *Cyclic) Status(ctx context.Context) (Status, error) { return c.status(ctx) }
