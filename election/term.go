package election

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
)

// A Term is the time for which somebody was elected. It is over here before it
// is over in etcd, and then stays so: to lead again, campaign again. A Term is
// safe for concurrent use.
//
//	leading ─▶ over here: Context has ended ─▶ over in etcd: the key is gone
type Term struct {
	election *Election
	key      *leasekey.Key
	hold     *leasekey.Hold
	leave    func()        // ends the session's turn
	joined   bool          // Run gives the term up once its work has returned
	gone     chan struct{} // closed once the key is certainly gone, or goes with its lease

	once sync.Once   // for gone
	lost atomic.Bool // the key was lost before the term was ended here

	mu      sync.Mutex
	heir    string      // whom to hand over to; "" for whoever is next
	plan    *succession // how, as it was when that was decided
	leaving bool        // somebody is at giving the term up in etcd
	refused error       // why the heir could not have it

	writing chan struct{} // held by who proclaims; capacity 1
	mod     int64         // the key's mod revision as last seen by who proclaims
}

// newTerm makes the term of a key that leads, unless the key was lost. It ends
// the session's turn when the key is gone.
func newTerm(ctx context.Context, e *Election, key *leasekey.Key, leave func()) (*Term, error) {
	t := &Term{
		election: e, key: key, leave: leave,
		gone:    make(chan struct{}),
		writing: make(chan struct{}, 1),
		mod:     key.Revision(),
	}
	hold, err := leasekey.NewHold(ctx, key, leasekey.HoldConfig{
		Guard: key.Guard(), Explain: e.explain,
		Lost: func() {
			t.lost.Store(true)
			t.left()
		},
		// Release is left out: giving up is the term's, see giveUp.
	})
	if err != nil {
		return nil, err
	}
	t.hold = hold
	t.watch()
	return t, nil
}

// watch starts what may end the term early. The session's Close waits for it.
func (t *Term) watch() {
	if h := t.election.opts.health; h != nil {
		t.hold.Epoch().Background(func(context.Context) {
			if err := h.fails(t.Context()); err != nil {
				t.hold.End(err)
			}
		})
	}
	if t.election.opts.ranked {
		t.hold.Epoch().Background(func(context.Context) {
			if t.awaitBetter(t.Context()) {
				t.hold.End(ErrPreempted)
			}
		})
	}
}

// left is called when the key is gone. A loss and a release at the same time
// both find that out.
func (t *Term) left() {
	t.once.Do(func() {
		close(t.gone)
		t.leave()
	})
}

// Context is cancelled when the term is over, and if it is lost, before etcd
// can give it to somebody else. Its cause matches one of ErrLost, ErrResigned,
// ErrTransferred, ErrPreempted and ErrUnhealthy. Its values are those of the
// context that was given to Campaign or Run.
func (t *Term) Context() context.Context { return t.hold.Context() }

// Valid tells whether the term certainly goes on. It does no I/O, costs a
// reading of the clock, and is right in the first instruction after the
// process was stopped or suspended. Once false it stays false.
func (t *Term) Valid() bool { return t.hold.Valid() }

// Remaining is how long the term certainly goes on if etcd is not heard of
// again; zero once Valid is false.
func (t *Term) Remaining() time.Duration { return t.hold.Remaining() }

// Token is the fencing token: each later term of the election has a larger
// one. A store that remembers the largest token it has seen, and refuses
// smaller ones, cannot be written by a leader that was overtaken. It is the
// create revision of the leader's key.
func (t *Term) Token() int64 { return t.hold.Revision() }

// Guard returns the comparisons that hold during the term, for the If of a
// transaction: the transaction then commits only if nobody else leads yet,
// whatever clocks and networks did meanwhile. When the term is over it returns
// comparisons that never hold.
func (t *Term) Guard() []clientv3.Cmp { return []clientv3.Cmp{t.hold.Guard()} }

// Key is the leader's key in etcd.
func (t *Term) Key() string { return t.key.Name() }

// Resign gives the term up, and the next candidate leads. The term's context
// ends and Valid is false before anything is sent, so stop the work of the term
// before, or let Run do it: of a term in Run, Resign ends the work's context,
// and the term is given up in etcd when the work has returned.
//
// Resign returns nil once the key is deleted in etcd; ErrLost with the cause if
// the term was lost before that; and ErrPending if ctx ended first: giving up
// then goes on in the background. It can be called again, also after the term
// ended in another way, and only ever touches this term. The work of a term in
// Run may call it with its own context and gets nil at once.
//
// It costs one transaction, with WithPriority one read more.
func (t *Term) Resign(ctx context.Context) error {
	t.hold.End(ErrResigned)
	return t.over(ctx)
}

// over sees to it that a term that has ended here is over in etcd, and waits
// for that.
func (t *Term) over(ctx context.Context) error {
	if t.joined {
		return t.awaitGone(ctx)
	}
	return t.giveUp(ctx)
}

// giveUp gives the term up in etcd. Who comes second waits for the first.
func (t *Term) giveUp(ctx context.Context) error {
	t.mu.Lock()
	second, heir, plan := t.leaving, t.heir, t.plan
	t.leaving = true
	t.mu.Unlock()
	if second || t.lost.Load() {
		return t.awaitGone(ctx)
	}
	done, refused := t.handOver(ctx, heir, plan)
	if done {
		t.key.Untrack()
		t.left()
		return nil
	}
	t.mu.Lock()
	t.refused = refused
	t.mu.Unlock()
	return t.election.explain(t.key.Release(ctx, t.left))
}

// awaitGone waits until the key is gone.
func (t *Term) awaitGone(ctx context.Context) error {
	if !wait(ctx, t.gone) {
		if t.joined && t.ends(ctx) {
			return nil // the caller is the work, which has to return first
		}
		return fmt.Errorf("%w: %q: %w", ErrPending, t.election.name, context.Cause(ctx))
	}
	if t.lost.Load() {
		return t.election.explain(t.hold.Err())
	}
	return nil
}

// ends tells whether it is the end of the term that has ended ctx.
func (t *Term) ends(ctx context.Context) bool {
	return t.Context().Err() != nil && context.Cause(ctx) == context.Cause(t.Context())
}

// wait waits for done and tells whether it came before the end of ctx.
func wait(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
