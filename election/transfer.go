package election

import (
	"context"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
)

// maxBetween is how many candidates one transaction moves. etcd takes 128
// operations, and each costs two.
const maxBetween = 50

// Transfer hands the term over to the candidate of that name, the first one if
// there are several. Nobody else leads in between; candidates that came before
// it stand again behind the others. The names are those that Candidates shows.
//
// It returns ErrNotStanding if there is no such candidate behind the leader and
// ErrBlocked if the lead cannot pass to it; nothing has changed then, unless the
// term's context has ended: that is so if the candidate went away in the very
// last moment, and somebody else leads. Otherwise the term ends, and Transfer
// is like Resign. nil means that the candidate is the first in etcd. A
// transfer is never begun before the work of a term in Run has returned, and
// not at all once the lease is lost.
//
// It costs one read and one transaction, and one more for each 50 candidates
// that are moved.
func (t *Term) Transfer(ctx context.Context, name string) error {
	if err := t.choose(ctx, name); err != nil {
		return t.election.explain(err)
	}
	if err := t.over(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused
}

// choose ends the term here for the sake of an heir, unless that was done
// before.
func (t *Term) choose(ctx context.Context, name string) error {
	if t.hold.Err() == nil {
		list, err := t.election.seen.list(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(list, func(c Candidate) bool { return c.Name == name }) {
			return fmt.Errorf("%w: %q", ErrNotStanding, name)
		}
		plan, err := chosen(list, t.Token(), name)
		if err != nil {
			return err
		}
		t.mu.Lock()
		if t.hold.End(fmt.Errorf("%w: to %q", ErrTransferred, name)) {
			t.heir, t.plan = name, plan
		}
		t.mu.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.heir != name {
		return t.hold.Err()
	}
	return nil
}

// handOver passes the lead to the heir, or to the best candidate. It returns
// false if the key still has to be removed; the error then says why the heir
// could not have it.
//
// A transaction that was not answered may have committed, and may still do so
// later: it compares the create revision of every key that it deletes, and of
// the heir's, so whenever it does, it is a hand-over to somebody who stands.
func (t *Term) handOver(ctx context.Context, heir string, plan *succession) (done bool, err error) {
	if heir == "" && !t.election.opts.ranked {
		return false, nil
	}
	epoch := t.hold.Epoch()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Without its lease the key goes by itself.
	defer context.AfterFunc(epoch.Context(), func() { cancel(context.Cause(epoch.Context())) })()
	doubt := false
	for failures := 0; ctx.Err() == nil; failures++ {
		if failures > 0 {
			leasekey.Pause(ctx, failures)
		}
		if plan == nil {
			list, err := t.election.seen.list(ctx)
			if err != nil {
				continue
			}
			plan, err = chosen(list, t.Token(), heir)
			switch {
			case errors.Is(err, errGone):
				return doubt, nil // an attempt that was not answered has done it
			case err != nil && heir != "":
				return false, err
			case plan == nil:
				return false, nil // it is the turn of whoever is next
			}
		}
		moved, err := t.pass(ctx, plan)
		epoch.Report(err)
		if moved {
			return true, nil
		}
		doubt = doubt || err != nil
		plan = nil // somebody of it has gone, or more have to be moved
	}
	return false, nil // Release says what came of it
}

// pass is one attempt. It returns false if somebody of the plan is gone, or if
// more have to be moved first.
func (t *Term) pass(ctx context.Context, plan *succession) (bool, error) {
	between := plan.between[:min(len(plan.between), maxBetween)]
	compare := []clientv3.Cmp{t.key.Guard(), plan.heir.guard()}
	var then []clientv3.Op
	for _, c := range between {
		compare = append(compare, c.guard())
		then = append(then, clientv3.OpDelete(c.Key), clientv3.OpDelete(keys.Member(t.election.opts.about, c.Lease)))
	}
	last := len(between) == len(plan.between)
	if last {
		then = append(then, t.key.Deletions()...)
	}
	txn, cancel := leasekey.Begin(ctx, t.election.session.Client())
	defer cancel()
	resp, err := txn.If(compare...).Then(then...).Commit()
	if err != nil {
		return false, err
	}
	return resp.Succeeded && last, nil
}

// guard is the comparison that holds while the candidate stands.
func (c Candidate) guard() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(c.Key), "=", c.Token)
}
