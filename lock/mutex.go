package lock

import (
	"context"
	"fmt"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/waitqueue"
	"github.com/gotenure/tenure/session"
)

// A Mutex is a named lock that at most one handle holds at a time, among all
// processes that use the same etcd and the same namespace. Waiters are served
// in the order in which they came; the goroutines of one session wait in a
// local queue behind a single place in etcd.
//
// A Mutex is cheap, has no state of its own and is safe for concurrent use.
// Any number of them may be made for one name; those of one session exclude
// each other like those of different ones.
type Mutex struct {
	session *session.Session
	name    string
	queue   *waitqueue.Queue
	owner   ownerPrefix
	policy  policy
	err     error // why the name cannot be used
}

// NewMutex returns the mutex of that name. It does no I/O. Any name of 1 to
// 1,024 bytes will do, and no name interferes with another. A name that cannot
// be used makes every method return an error that matches ErrName, an option
// that cannot work one that matches ErrOption.
func NewMutex(s *session.Session, name string, opts ...Option) *Mutex {
	o := resolve(keys.Space(s.Namespace()), name, opts)
	queue := waitqueue.New(s, o.prefix, o.retention, func(err error) error { return explain(name, err) })
	if o.delay > 0 {
		queue = queue.Delayed(o.delay)
	}
	return &Mutex{
		session: s,
		name:    name,
		queue:   queue,
		owner:   newOwnerPrefix(s.Name()),
		policy:  o.policy,
		err:     o.err,
	}
}

// Name returns the name that the mutex was made with.
func (m *Mutex) Name() string { return m.name }

// Prefix returns the key prefix under which the holder's and the waiters' keys
// stand in etcd. It ends in a slash.
func (m *Mutex) Prefix() string { return m.queue.Prefix() }

// Lock waits until the lock is held and returns its handle. ctx bounds the
// waiting only; the handle's own context tells when the lock is lost.
//
// It returns ErrDeadlock if ctx descends from the context of a handle of the
// same lock, ErrLost if the session or the place in the queue was lost while
// waiting, session.ErrClosed (also as ErrLost) if the session was closed, and
// an error that wraps the cause of ctx when that ended. After an error nothing
// of the attempt is left in etcd, or it is being removed.
//
// Without contention it costs one transaction. With contention it costs one
// transaction, one watch and one to three reads.
func (m *Mutex) Lock(ctx context.Context) (*Held, error) {
	if m.err != nil {
		return nil, m.err
	}
	ctx, chain, err := enterChain(ctx, m.session, m.Prefix(), m.name, false)
	if err != nil {
		return nil, err
	}
	return m.held(ctx, chain, m.queue.Acquire)
}

// TryLock returns a handle if nobody holds the lock or waits for it, and
// otherwise ErrLocked. It never queues up: while it fails, others' Lock calls
// are not affected. It costs one transaction, none if a goroutine of the same
// session holds the lock or waits.
func (m *Mutex) TryLock(ctx context.Context) (*Held, error) {
	if m.err != nil {
		return nil, m.err
	}
	ctx, chain, err := enterChain(ctx, m.session, m.Prefix(), m.name, false)
	if err != nil {
		return nil, fmt.Errorf("%w: %q, by the caller's own handle", ErrLocked, m.name)
	}
	return m.held(ctx, chain, m.queue.Try)
}

// held makes the handle of what the queue returns.
func (m *Mutex) held(ctx context.Context, chain *link,
	how func(context.Context, func() string) (*leasekey.Hold, error)) (*Held, error) {
	attempt := m.policy.attempt(m.name)
	hold, err := how(ctx, m.owner.now)
	if err != nil {
		return nil, attempt.failed(err)
	}
	chain.set(hold, false)
	return attempt.held(hold), nil
}

// Do runs work while holding the lock. The work's context has the values of
// ctx and ends when ctx ends or the lock is lost, with the cause. Do returns
// when the work has, and unlocks only then, so the work is never overtaken by
// the next holder's unless it goes on after the loss. A step that should not be
// torn off when ctx ends, such as a write whose outcome matters, can use the
// handle's own context, which ends with the lock only.
//
// It returns the work's error, joined with an error that matches ErrLost if
// the lock was lost before the work had returned, or with that of Unlock. If
// the lock could not be had, it returns Lock's error and work was not called. A
// panic in the work unlocks and goes on.
func (m *Mutex) Do(ctx context.Context, work func(ctx context.Context, h *Held) error) error {
	held, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	return run(ctx, held, work)
}
