package barrier

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/prefixwatch"
	"github.com/gotenure/tenure/session"
)

// A Barrier keeps everybody who comes to it until it is released. It has no
// state of its own and is safe for concurrent use.
type Barrier struct {
	session *session.Session
	name    string
	site    site
	err     error // why it cannot be used
}

// New returns the barrier of that name. It does no I/O. A name that cannot be
// used makes every method return an error that matches ErrName.
func New(s *session.Session, name string) *Barrier {
	b := &Barrier{session: s, name: name}
	b.site, b.err = findSite(s, "hold", name)
	return b
}

// Name returns the name that the barrier was made with.
func (b *Barrier) Name() string { return b.name }

// A HoldOption changes how a barrier is held.
type HoldOption func(*holdRecord)

// Persistent makes a hold that does not end with the session that made it, but
// only with Release, by anybody.
func Persistent() HoldOption { return func(r *holdRecord) { r.Persistent = true } }

// Hold closes the barrier. Unless it is Persistent, the hold ends with the
// session: those who wait, and those who come later, then get a *BrokenError
// that names the holder, until the barrier is held or released again.
//
// It returns an error that matches ErrHeld, with the holder's name, if the
// barrier is held already. After an error the barrier is not held by this call,
// or that is being undone. It costs one read and one transaction.
func (b *Barrier) Hold(ctx context.Context, opts ...HoldOption) error {
	if b.err != nil {
		return b.err
	}
	// One attempt of a session at a time, until it is certain what became of
	// it: the key has the same name in all of them.
	turn, letGo := b.session.Share(holdTurn{b.site}, func() any { return make(chan struct{}, 1) })
	defer letGo()
	select {
	case turn.(chan struct{}) <- struct{}{}:
	case <-ctx.Done():
		return explain(b.name, context.Cause(ctx))
	}
	done := func() { <-turn.(chan struct{}) }

	epoch, err := b.session.Epoch(ctx)
	if err != nil {
		done()
		return explain(b.name, err)
	}
	ctx, unbind := bind(ctx, epoch)
	defer unbind()
	key := leasekey.New(epoch, keys.Member(b.site.parties(), epoch.Lease()))
	next := holdRecord{Held: true, By: newParty(b.session), Key: key.Name()}
	for _, opt := range opts {
		opt(&next)
	}
	if err := b.hold(ctx, key, &next); err != nil {
		b.undo(key, next, done)
		return explain(b.name, err)
	}
	done()
	return nil
}

type holdTurn struct{ site site }

func (b *Barrier) hold(ctx context.Context, key *leasekey.Key, next *holdRecord) error {
	for {
		v, _, err := b.look(ctx)
		if err != nil {
			return err
		}
		if v.standing() == held {
			return fmt.Errorf("%w: %q, by %v", ErrHeld, b.name, v.record.By)
		}
		next.Releases = v.record.Releases
		created, err := leasekey.Create(ctx, leasekey.Creation{
			Keys:  []*leasekey.Key{key},
			Value: func() string { return encode(next.By) },
			If:    []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(b.site.holdRecord()), "=", v.mod)},
			Then:  []clientv3.Op{clientv3.OpPut(b.site.holdRecord(), encode(next))},
		})
		if err != nil || created.Done {
			return err
		}
	}
}

// undo makes sure that a hold which failed does not come to be. It waits a
// moment, and then goes on in the background; it gives up only when the lease
// is gone, and a creation that is still under way is refused then.
func (b *Barrier) undo(key *leasekey.Key, next holdRecord, done func()) {
	next.Held, next.Persistent = false, false
	over := make(chan struct{})
	key.Epoch().Background(func(ctx context.Context) {
		defer close(over)
		defer done()
		if !key.Settle(ctx) || key.Revision() == 0 {
			return
		}
		for failures := 0; ctx.Err() == nil; failures++ {
			if _, err := b.open(ctx, key.Revision(), next); err == nil {
				return
			}
			leasekey.Pause(ctx, failures)
		}
	})
	select {
	case <-over:
	case <-time.After(grace):
	}
}

// Release opens the barrier, whoever holds it, and wakes all who wait. It
// returns nil once it is open, an error that matches ErrNotHeld if nobody held
// it, and a *BrokenError if the hold had ended with its session: the barrier is
// open then as well, but those who came meanwhile were told that it was broken.
//
// However often its transaction is repeated, it never ends a later hold. It
// costs one read and one transaction.
func (b *Barrier) Release(ctx context.Context) error {
	if b.err != nil {
		return b.err
	}
	v, _, err := b.look(ctx)
	if err != nil {
		return explain(b.name, err)
	}
	standing := v.standing()
	if standing == free {
		return fmt.Errorf("%w: %q", ErrNotHeld, b.name)
	}
	next := v.record
	next.Held, next.Persistent = false, false
	next.Releases++
	attempts, opened := 0, false
	err = retry(ctx, func(ctx context.Context) (err error) {
		attempts++
		opened, err = b.open(ctx, v.mod, next)
		return err
	})
	switch {
	case err != nil:
		return explain(b.name, err)
	case !opened && attempts == 1: // else an attempt before may have done it
		return fmt.Errorf("%w: %q: somebody else was faster", ErrNotHeld, b.name)
	case standing == orphaned:
		return b.brokenBy(v.record)
	}
	return nil
}

// open ends the hold of that revision. It is one attempt.
func (b *Barrier) open(ctx context.Context, mod int64, next holdRecord) (bool, error) {
	txn, cancel := leasekey.Begin(ctx, b.session.Client())
	defer cancel()
	resp, err := txn.
		If(clientv3.Compare(clientv3.ModRevision(b.site.holdRecord()), "=", mod)).
		Then(clientv3.OpPut(b.site.holdRecord(), encode(next)), clientv3.OpDelete(next.Key)).
		Commit()
	return err == nil && resp.Succeeded, err
}

// Wait returns nil as soon as the barrier is open, at once if nobody holds it. It
// returns a *BrokenError, which matches ErrBroken and names the holder, if the
// hold has ended with its session and not by Release; ErrLost if the own session
// was lost or closed; and an error that wraps the cause of ctx if that ended.
//
// It costs one read if the barrier is open, and otherwise a watch and one read
// more. It leaves nothing in etcd.
func (b *Barrier) Wait(ctx context.Context) error {
	if b.err != nil {
		return b.err
	}
	epoch, err := b.session.Epoch(ctx)
	if err != nil {
		return explain(b.name, err)
	}
	ctx, unbind := bind(ctx, epoch)
	defer unbind()
	return explain(b.name, b.wait(ctx, epoch.TTL()))
}

func (b *Barrier) wait(ctx context.Context, probe time.Duration) error {
	// The first look is by a quorum: one member may not know of the hold yet.
	v, rev, err := b.look(ctx)
	if err != nil {
		return err
	}
	releases := v.record.Releases
	switch v.standing() {
	case free:
		return nil
	case orphaned:
		return b.brokenBy(v.record)
	}
	watch := prefixwatch.Open(ctx, b.session.Client(), prefixwatch.Config{
		Key: string(b.site), Prefix: true, From: rev, Probe: probe,
	})
	defer watch.Close()
	for v = newHoldView(); ; { // all that the watch does not tell of is gone
		update, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		for _, ev := range update.Events {
			v.apply(b.site, ev)
		}
		switch {
		case v.standing() == free, v.record.Releases > releases: // it may be held again
			return nil
		case v.standing() == orphaned:
			return b.brokenBy(v.record)
		}
	}
}

// BarrierStatus says how a Barrier stands.
type BarrierStatus struct {
	Held       bool
	Persistent bool
	// Broken says that the holder's session has ended without a release.
	Broken bool
	// By is who holds it, or held it last.
	By Party
}

// Status returns how the barrier stands. It costs one linearizable range.
func (b *Barrier) Status(ctx context.Context) (BarrierStatus, error) {
	if b.err != nil {
		return BarrierStatus{}, b.err
	}
	v, _, err := b.look(ctx)
	if err != nil {
		return BarrierStatus{}, fmt.Errorf("barrier: %q: status: %w", b.name, err)
	}
	standing := v.standing()
	return BarrierStatus{
		Held: standing == held, Persistent: v.record.Persistent, Broken: standing == orphaned, By: v.record.By,
	}, nil
}

// look reads how the barrier stands, by a quorum, and at which revision.
func (b *Barrier) look(ctx context.Context) (v holdView, rev int64, err error) {
	err = retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, prefixwatch.ReadTimeout)
		defer cancel()
		resp, err := b.session.Client().Get(ctx, string(b.site), clientv3.WithPrefix())
		if err != nil {
			return err
		}
		v, rev = newHoldView(), resp.Header.Revision
		for _, kv := range resp.Kvs {
			v.set(b.site, kv)
		}
		return nil
	})
	return v, rev, err
}

func (b *Barrier) brokenBy(r holdRecord) error {
	return &BrokenError{Name: b.name, By: r.By, Reason: ReasonDied}
}
