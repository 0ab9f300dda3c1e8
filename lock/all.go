package lock

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/gotenure/tenure/internal/admission"
	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/session"
)

// MaxAll is how many locks All takes at the most: as many as one transaction
// of etcd has room for.
const MaxAll = 100

// atOnce is how many of them are given back at a time.
const atOnce = 16

// A Lockable is what All can take: a *Mutex, or one of the sides of an RWMutex.
type Lockable interface {
	Name() string
	target() target
}

// A target is how All sees a lock.
type target struct {
	session *session.Session
	prefix  string
	read    bool
	policy  policy
	err     error
	begin   func(ctx context.Context) (bid, error)
}

// A bid is an acquisition in steps, see waitqueue.Bid and admission.Bid.
type bid interface {
	Owned() *leasekey.Hold
	Prepare(ctx context.Context) error
	Key() *leasekey.Key
	Free() clientv3.Cmp
	Won(ctx context.Context) (*leasekey.Hold, error)
	Enter(ctx context.Context) (*leasekey.Hold, error)
	Abandon()
}

func (m *Mutex) target() target {
	return target{session: m.session, prefix: m.Prefix(), policy: m.policy, err: m.err, begin: func(ctx context.Context) (bid, error) {
		return m.queue.Bid(ctx, m.owner.now)
	}}
}

// A Side is one side of an RWMutex, for All.
type Side struct {
	mutex *RWMutex
	side  admission.Side
}

// ReadSide is for All to hold the lock for reading.
func (m *RWMutex) ReadSide() Side { return Side{m, admission.Read} }

// WriteSide is for All to hold the lock for writing.
func (m *RWMutex) WriteSide() Side { return Side{m, admission.Write} }

// Name is the name of the lock.
func (s Side) Name() string { return s.mutex.name }

func (s Side) target() target {
	m := s.mutex
	return target{session: m.session, prefix: m.Prefix(), read: s.side == admission.Read, policy: m.policy, err: m.err,
		begin: func(ctx context.Context) (bid, error) {
			b, err := m.queue.Bid(ctx, s.side, m.owner.now)
			return sideBid{b}, err
		}}
}

// sideBid makes the bid for one side look like one for a mutex.
type sideBid struct{ *admission.Bid }

func (sideBid) Owned() *leasekey.Hold         { return nil }
func (sideBid) Prepare(context.Context) error { return nil }

func (b sideBid) Won(ctx context.Context) (*leasekey.Hold, error) { return plain(b.Bid.Won(ctx)) }

func (b sideBid) Enter(ctx context.Context) (*leasekey.Hold, error) { return plain(b.Bid.Enter(ctx)) }

func plain(hold *admission.RWHold, err error) (*leasekey.Hold, error) {
	if err != nil {
		return nil, err
	}
	return hold.Hold, nil
}

// All waits until all of the locks are held, and returns one handle for them;
// after an error none is held. They must be of one session, 1 to MaxAll, each
// once: else ErrMany. Other errors are those of Mutex.Lock and RWMutex.Lock.
//
// If all are free, it costs one transaction. If not, they are taken one after
// the other, in an order that is the same for everybody, so that two callers
// of All never wait for each other; those who take several locks without All
// have to see to that themselves. While it waits it holds those that come
// before in that order.
func All(ctx context.Context, locks ...Lockable) (*HeldAll, error) {
	a, err := newAll(ctx, locks)
	if err != nil {
		return nil, err
	}
	if err := a.begin(); err != nil {
		return nil, a.fail(err)
	}
	won, err := a.together()
	if err == nil && !won {
		err = a.oneByOne()
	}
	if err != nil {
		return nil, a.fail(err)
	}
	return a.held(), nil
}

// DoAll runs work while holding all of the locks, like Mutex.Do.
func DoAll(ctx context.Context, locks []Lockable, work func(ctx context.Context, h *HeldAll) error) error {
	held, err := All(ctx, locks...)
	if err != nil {
		return err
	}
	return run(ctx, held, work)
}

// all is one acquisition of several locks.
type all struct {
	ctx   context.Context
	parts []*part // in the order in which they are taken
	given []*part // in the order in which the caller named them
}

// A part is one of the locks.
type part struct {
	target
	name    string
	attempt attempt
	chain   *link
	bid     bid            // nil before it was begun, and once it was decided
	hold    *leasekey.Hold // nil until it is held
}

// newAll checks what can be checked without I/O.
func newAll(ctx context.Context, locks []Lockable) (*all, error) {
	if len(locks) == 0 || len(locks) > MaxAll {
		return nil, fmt.Errorf("%w: %d of them, not 1 to %d", ErrMany, len(locks), MaxAll)
	}
	a := &all{ctx: ctx}
	for _, l := range locks {
		p := &part{target: l.target(), name: l.Name()}
		p.attempt = p.policy.attempt(p.name)
		switch {
		case p.err != nil:
			return nil, p.err
		case p.session != locks[0].target().session:
			return nil, fmt.Errorf("%w: %q and %q are of different sessions", ErrMany, locks[0].Name(), p.name)
		case slices.ContainsFunc(a.given, func(o *part) bool { return o.prefix == p.prefix }):
			return nil, fmt.Errorf("%w: %q is named twice", ErrMany, p.name)
		}
		a.given = append(a.given, p)
	}
	for _, p := range a.given {
		var err error
		if a.ctx, p.chain, err = enterChain(a.ctx, p.session, p.prefix, p.name, p.read); err != nil {
			return nil, err
		}
	}
	a.parts = slices.SortedFunc(slices.Values(a.given), func(p, q *part) int { return cmp.Compare(p.prefix, q.prefix) })
	return a, nil
}

// begin waits for the local turns.
func (a *all) begin() error {
	for _, p := range a.parts {
		b, err := p.target.begin(a.ctx)
		if err != nil {
			return explain(p.name, err)
		}
		if p.hold = b.Owned(); p.hold == nil {
			p.bid = b
		}
	}
	for _, p := range a.waiting() {
		if err := p.bid.Prepare(a.ctx); err != nil {
			p.bid = nil // it has ended
			return explain(p.name, err)
		}
	}
	return nil
}

// waiting are the parts that are not held yet.
func (a *all) waiting() []*part {
	return slices.DeleteFunc(slices.Clone(a.parts), func(p *part) bool { return p.bid == nil })
}

// together takes what is not held yet in one transaction, and tells whether all
// of it was free.
func (a *all) together() (bool, error) {
	waiting := a.waiting()
	if len(waiting) == 0 {
		return true, nil
	}
	if waiting[0].bid.Key().Epoch() != waiting[len(waiting)-1].bid.Key().Epoch() {
		return false, nil // the session got a new lease just now; what is old says so when it enters
	}
	// That an own key is there while the lock is free, or among others' that read
	// it, takes somebody who uses this session's lease; and etcd has no room for
	// one comparison more of each.
	creation := leasekey.Creation{Value: newOwnerPrefix(waiting[0].session.Name()).now, Free: true}
	for _, p := range waiting {
		creation.Keys = append(creation.Keys, p.bid.Key())
		creation.If = append(creation.If, p.bid.Free())
	}
	created, err := leasekey.Create(a.ctx, creation)
	if err != nil || !created.Done {
		return false, explainAny(waiting, err)
	}
	for _, p := range waiting {
		if err := p.decided(p.bid.Won(a.ctx)); err != nil {
			return false, err
		}
	}
	return true, nil
}

// oneByOne takes what is not held yet in the common order.
func (a *all) oneByOne() error {
	for _, p := range a.waiting() {
		// What is held already may be lost while this one is waited for.
		ctx, cancel := context.WithCancelCause(a.ctx)
		for _, held := range a.parts {
			if held.hold != nil {
				lost := held.hold.Context()
				defer context.AfterFunc(lost, func() { cancel(context.Cause(lost)) })()
			}
		}
		err := p.decided(p.bid.Enter(ctx))
		cancel(nil)
		if err != nil {
			return err
		}
	}
	return nil
}

// decided takes in how the bid has ended.
func (p *part) decided(hold *leasekey.Hold, err error) error {
	p.bid, p.hold = nil, hold
	return explain(p.name, err)
}

// fail gives back what was begun.
func (a *all) fail(err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), leasekey.AttemptTimeout)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, p := range a.parts {
		group.Go(func() error {
			switch {
			case p.hold != nil:
				_ = p.hold.Release(ctx) // in the background if need be
			case p.bid != nil:
				p.bid.Abandon()
			}
			return nil
		})
	}
	_ = group.Wait()
	for _, p := range a.parts {
		p.attempt.tell(err)
	}
	return err
}

func (a *all) held() *HeldAll {
	h := &HeldAll{}
	h.ctx, h.cancel = context.WithCancelCause(context.WithoutCancel(a.ctx))
	for _, p := range a.given {
		p.chain.set(p.hold, p.read)
		h.held = append(h.held, p.attempt.held(p.hold))
		ends := p.hold.Context()
		context.AfterFunc(ends, func() { h.cancel(context.Cause(ends)) })
	}
	return h
}

// explainAny is explain for an error that is about several locks.
func explainAny(parts []*part, err error) error {
	name := parts[0].name
	if len(parts) > 1 {
		name = fmt.Sprintf("%s and %d more", name, len(parts)-1)
	}
	return explain(name, err)
}
