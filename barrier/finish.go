package barrier

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/prefixwatch"
)

// finish ends a wait: err is nil if the view has the verdict, and otherwise why
// the party does not wait for it. It returns nil if the party has passed.
//
// What has to be cleaned up is, in the background if it takes long. A party
// that gives up breaks the gate, and it may turn out that it has passed.
func (a *arrival) finish(ctx context.Context, err error) error {
	known := err
	if err == nil {
		outcome, b := a.standing()
		switch outcome {
		case passed:
			a.through()
			return nil
		case surplus:
			known = a.tooMany()
		case broken:
			if b.Reason != ReasonDied || b.Key != a.key.Name() {
				known = a.brokenBy(b)
			}
		}
	}
	if ended := a.epoch.Context(); ended.Err() != nil {
		a.letGo() // the key goes with the lease
		return context.Cause(ended)
	}
	result, unwanted := make(chan error), make(chan struct{})
	a.epoch.Background(func(ctx context.Context) {
		r := a.resolve(ctx, known)
		select {
		case result <- r:
		case <-unwanted:
			if r == nil && a.stays() {
				a.key.Discard(a.letGo) // the caller was told that it is not inside
			}
		}
	})
	patience, cancel := a.patience(ctx, known)
	defer cancel()
	select {
	case r := <-result:
		return r
	case <-patience.Done():
		close(unwanted)
		if known == nil {
			return context.Cause(patience)
		}
		return known
	}
}

// patience is how long finish waits for the background: as long as the caller
// has if there is nothing to say before, and otherwise only a moment.
func (a *arrival) patience(ctx context.Context, known error) (context.Context, context.CancelFunc) {
	if known == nil {
		return bind(ctx, a.epoch)
	}
	return context.WithTimeout(context.WithoutCancel(ctx), grace)
}

// stays tells whether the key stays where it is when the party has passed.
func (a *arrival) stays() bool { return a.passage.stays }

// through takes in that the party has passed.
func (a *arrival) through() {
	if !a.stays() {
		a.letGo() // the opening has deleted the key
	}
}

// resolve finds out what became of the arrival, breaks the gate if the party
// gives up before that is decided, and removes the key unless the party has
// passed. It tries until the epoch ends.
func (a *arrival) resolve(ctx context.Context, known error) error {
	if !a.key.Settle(ctx) {
		a.letGo()
		return context.Cause(ctx)
	}
	if a.key.Revision() == 0 {
		a.letGo()
		return known
	}
	var parties *PartiesError
	if errors.As(known, &parties) {
		a.key.Discard(a.letGo) // nobody counts it
		return known
	}
	if a.ticket.at == 0 && !a.passage.exit {
		a.ticket.at = a.key.Revision()
	}
	for failures := 0; ; failures++ {
		r, certain := a.step(ctx, known)
		if certain {
			return r
		}
		if failures > 0 {
			leasekey.Pause(ctx, failures)
		}
		if ctx.Err() != nil {
			a.letGo()
			return context.Cause(ctx)
		}
		_ = a.look(ctx) // failing that, the next step fails as well
	}
}

// step is one attempt to end the arrival. It is not certain if etcd did not
// answer, or if the answer shows something new.
func (a *arrival) step(ctx context.Context, known error) (result error, certain bool) {
	outcome, b := a.standing()
	switch {
	case outcome == passed:
		a.through()
		return nil, true
	case outcome == surplus:
		a.key.Discard(a.letGo)
		return a.tooMany(), true
	case outcome == waiting:
		b = breach{By: a.self, Key: a.key.Name(), Reason: ReasonGaveUp}
		if !a.breakGate(ctx, b) {
			return nil, false
		}
		a.letGo()
		return known, true
	case outcome == broken && b.Reason == ReasonDied && b.Key == a.key.Name():
		// The others have noticed it first.
		a.key.Discard(a.letGo)
		return a.key.Missing(ctx), true
	case outcome == broken && a.view.mod == a.ticket.after && (a.view.gate == 0 || a.passage.exit):
		// The keeper has died, and nobody has written that down. At an entrance
		// those who wait at a gate since then are others, and it is not theirs; at
		// an exit they are of the same round, and must not take a key that is
		// removed here for that of a dead party.
		if !a.breakGate(ctx, b) {
			return nil, false
		}
		a.letGo()
		return a.brokenBy(b), true
	case outcome == broken:
		a.key.Discard(a.letGo)
		if b.Reason == ReasonGaveUp && b.Key == a.key.Name() && known != nil {
			return known, true // the attempt to give up was not answered
		}
		return a.brokenBy(b), true
	}
	gone, err := a.keyIsGone(ctx)
	switch {
	case err != nil:
		return nil, false
	case gone && !a.stays():
		a.letGo()
		return nil, true
	}
	a.key.Discard(a.letGo)
	return a.brokenBy(b), true
}

// standing is what the view says. It may be older than the arrival, and whether
// the party has come to an exit may be unknown.
func (a *arrival) standing() (outcome, breach) {
	b := a.view.record.Broken
	switch {
	case a.ticket.at > 0 && a.view.rev >= a.ticket.at:
		return a.ticket.verdict(a.view)
	case a.view.mod == a.ticket.after:
		return waiting, breach{}
	case a.passage.exit && b != nil && b.After == a.ticket.after:
		return broken, *b // before it came there, or as it did
	}
	return overdue, breach{}
}

// breakGate writes down who broke the gate and removes the party's key, if
// nothing was decided meanwhile. It is one attempt; after one without an answer
// the view may tell that it was carried out.
func (a *arrival) breakGate(ctx context.Context, b breach) bool {
	b.After, b.Gate = a.ticket.after, a.view.gate
	next := a.view.record
	next.Inside, next.Broken = 0, &b
	then := []clientv3.Op{
		clientv3.OpPut(a.site.record(), encode(next)),
		clientv3.OpDelete(a.key.Name()),
	}
	if a.view.gate != 0 {
		then = append(then, clientv3.OpDelete(a.site.gate()))
	}
	txn, cancel := leasekey.Begin(ctx, a.session.Client())
	defer cancel()
	resp, err := txn.
		If(a.unchanged(), clientv3.Compare(clientv3.CreateRevision(a.site.gate()), "=", a.view.gate)).
		Then(then...).
		Commit()
	return err == nil && resp.Succeeded
}

func (a *arrival) keyIsGone(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, prefixwatch.ReadTimeout)
	defer cancel()
	resp, err := a.session.Client().Get(ctx, a.key.Name(), clientv3.WithKeysOnly())
	if err != nil {
		return false, err
	}
	return len(resp.Kvs) == 0 || resp.Kvs[0].CreateRevision != a.key.Revision(), nil
}

func (a *arrival) tooMany() error {
	return fmt.Errorf("%w: %q: %d have passed without this one", ErrFull, a.name, a.parties)
}

// brokenBy is the error for everybody whose gate was broken.
func (a *arrival) brokenBy(b breach) error {
	return &BrokenError{Name: a.name, Generation: a.generation, By: b.By, Reason: b.Reason, Text: b.Text}
}

// grace is how long a call that has failed waits for its own clean-up before
// it leaves it to the background.
const grace = 250 * time.Millisecond
