package barrier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/prefixwatch"
	"github.com/gotenure/tenure/session"
)

// MaxCount is the largest number of contributions that a latch can wait for.
const MaxCount = 100_000

// recheck is how often somebody who waits counts the contributions. Whoever makes
// the last one opens the latch; if it dies between the two, this opens it.
const recheck = 5 * time.Second

// A Latch opens when so many contributions have been made, and stays open.
// Contributions have names, and each counts once, however often it is made. They
// belong to no session: what was done stays done. A Latch has no state of its
// own and is safe for concurrent use.
type Latch struct {
	session *session.Session
	name    string
	site    site
	err     error // why it cannot be used
}

// A latchState is the value of a latch's key.
type latchState struct {
	Count int  `json:"count"`
	Open  bool `json:"open"`
}

func (s site) latch() string         { return string(s) + "latch" }
func (s site) contributions() string { return string(s) + "by/" }

// NewLatch returns the latch of that name. It does no I/O. A name that cannot be
// used makes every method return an error that matches ErrName.
func NewLatch(s *session.Session, name string) *Latch {
	l := &Latch{session: s, name: name}
	l.site, l.err = findSite(s, "latch", name)
	return l
}

// Name returns the name that the latch was made with.
func (l *Latch) Name() string { return l.name }

// Set says how many contributions the latch waits for, from 1 to MaxCount. All
// who want to may say so; one with another number gets a *PartiesError, which
// matches ErrParties. Contributions may come before and count.
//
// After an error it may have taken effect, or still do so; it can be repeated.
// It costs one transaction and one read.
func (l *Latch) Set(ctx context.Context, count int) error {
	if l.err != nil {
		return l.err
	}
	if count < 1 || count > MaxCount {
		return fmt.Errorf("%w: a count of %d is not between 1 and %d", ErrCount, count, MaxCount)
	}
	return explain(l.name, retry(ctx, func(ctx context.Context) error {
		txn, cancel := leasekey.Begin(ctx, l.session.Client())
		defer cancel()
		resp, err := txn.
			If(clientv3.Compare(clientv3.CreateRevision(l.site.latch()), "=", 0)).
			Then(clientv3.OpPut(l.site.latch(), encode(latchState{Count: count}))).
			Else(clientv3.OpGet(l.site.latch())).
			Commit()
		if err != nil {
			return err
		}
		found, mod := latchState{Count: count}, resp.Header.Revision
		if !resp.Succeeded {
			kv := resp.Responses[0].GetResponseRange().Kvs[0]
			found, mod = decode[latchState](kv), kv.ModRevision
		}
		if found.Count != count {
			return &PartiesError{Name: l.name, Own: count, Other: found.Count}
		}
		return l.openIfDone(ctx, found, mod, resp.Header.Revision)
	}))
}

// CountDown makes the contribution of that name, of 1 to 1,024 bytes. Making it
// again changes nothing, so it can be repeated after an error, after which it
// may have been made, or still be. It costs one transaction and one read, and
// one transaction more for the last one.
func (l *Latch) CountDown(ctx context.Context, contribution string) error {
	if l.err != nil {
		return l.err
	}
	segment, err := keys.Escape(contribution)
	if err != nil {
		return fmt.Errorf("%w: the contribution: %w", ErrName, err)
	}
	key := l.site.contributions() + segment
	value := encode(newParty(l.session))
	return explain(l.name, retry(ctx, func(ctx context.Context) error {
		txn, cancel := leasekey.Begin(ctx, l.session.Client())
		defer cancel()
		look := clientv3.OpGet(l.site.latch())
		resp, err := txn.
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(look, clientv3.OpPut(key, value)).
			Else(look).
			Commit()
		if err != nil {
			return err
		}
		kvs := resp.Responses[0].GetResponseRange().Kvs
		if len(kvs) == 0 {
			return nil // whoever sets it will count
		}
		return l.openIfDone(ctx, decode[latchState](kvs[0]), kvs[0].ModRevision, resp.Header.Revision)
	}))
}

// openIfDone opens the latch if there are enough contributions at revision rev
// or later. Everybody who has made one counts after that, so whoever made the
// last one finds them all.
func (l *Latch) openIfDone(ctx context.Context, state latchState, mod, rev int64) error {
	if state.Open {
		return nil
	}
	count, err := prefixwatch.ReadAtLeast(ctx, l.session.Client(), rev, l.site.contributions(),
		clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || count.Count < int64(state.Count) {
		return err
	}
	state.Open = true
	txn, cancel := leasekey.Begin(ctx, l.session.Client())
	defer cancel()
	// If the comparison fails somebody else has opened or removed it.
	_, err = txn.
		If(clientv3.Compare(clientv3.ModRevision(l.site.latch()), "=", mod)).
		Then(clientv3.OpPut(l.site.latch(), encode(state))).
		Commit()
	return err
}

// Wait returns nil once the latch is open, at once if it is. It may be called
// before Set. It returns an error that matches ErrRemoved if the latch was
// removed meanwhile, ErrLost if the session was lost or closed, and one that
// wraps the cause of ctx if that ended.
//
// It costs one watch and two reads, and another read every five seconds. The
// opening is one event that wakes all. It leaves nothing in etcd.
func (l *Latch) Wait(ctx context.Context) error {
	if l.err != nil {
		return l.err
	}
	epoch, err := l.session.Epoch(ctx)
	if err != nil {
		return explain(l.name, err)
	}
	ctx, unbind := bind(ctx, epoch)
	defer unbind()
	return explain(l.name, l.wait(ctx, epoch.TTL()))
}

func (l *Latch) wait(ctx context.Context, probe time.Duration) error {
	watch := prefixwatch.Open(ctx, l.session.Client(), prefixwatch.Config{
		Key: l.site.latch(), Probe: probe,
	})
	defer watch.Close()
	var state latchState
	var mod, rev int64 // the state's, and of what is known; mod is 0 if it is not set
	for {
		update, err := l.next(ctx, watch)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !errors.Is(err, errRecheck):
			return err
		case err == nil:
			rev = update.Revision
		}
		set := mod > 0
		for _, ev := range update.Events {
			state, mod = latchState{}, 0
			if ev.Type != clientv3.EventTypeDelete {
				state, mod = decode[latchState](ev.Kv), ev.Kv.ModRevision
			}
			if state.Open {
				return nil // whatever became of it since
			}
		}
		switch {
		case set && mod == 0:
			return fmt.Errorf("%w: %q", ErrRemoved, l.name)
		case mod > 0:
			// A failure is no reason to stop waiting: there is a next time.
			_ = l.openIfDone(ctx, state, mod, rev)
		}
	}
}

var errRecheck = errors.New("time to count again")

// next waits for an update, but not for longer than it takes until the next
// counting.
func (l *Latch) next(ctx context.Context, watch *prefixwatch.Watch) (prefixwatch.Update, error) {
	// Not in step with the others who wait.
	ctx, cancel := context.WithTimeoutCause(ctx, recheck/2+rand.N(recheck), errRecheck)
	defer cancel()
	return watch.Next(ctx)
}

// Remove deletes the latch and its contributions. Those who wait get ErrRemoved.
// It costs one transaction.
func (l *Latch) Remove(ctx context.Context) error {
	if l.err != nil {
		return l.err
	}
	return explain(l.name, retry(ctx, func(ctx context.Context) error {
		txn, cancel := leasekey.Begin(ctx, l.session.Client())
		defer cancel()
		_, err := txn.Then(clientv3.OpDelete(string(l.site), clientv3.WithPrefix())).Commit()
		return err
	}))
}

// LatchStatus says how a Latch stands.
type LatchStatus struct {
	Count   int // what it waits for; 0 if nobody has set it
	Open    bool
	Missing int      // contributions until it opens
	Made    []string // the names of the contributions, in the order of their keys
}

// Status returns how the latch stands. It costs one linearizable range.
func (l *Latch) Status(ctx context.Context) (LatchStatus, error) {
	if l.err != nil {
		return LatchStatus{}, l.err
	}
	resp, err := l.session.Client().Get(ctx, string(l.site), clientv3.WithPrefix())
	if err != nil {
		return LatchStatus{}, fmt.Errorf("barrier: %q: status: %w", l.name, err)
	}
	var st LatchStatus
	for _, kv := range resp.Kvs {
		if string(kv.Key) == l.site.latch() {
			state := decode[latchState](kv)
			st.Count, st.Open = state.Count, state.Open
			continue
		}
		segment := string(kv.Key[len(l.site.contributions()):])
		name, err := keys.Unescape(segment)
		st.Made = append(st.Made, cmp.Or(name, segment))
		_ = err // a key that was put there by hand is shown as it is
	}
	if !st.Open {
		st.Missing = max(0, st.Count-len(st.Made))
	}
	return st, nil
}
