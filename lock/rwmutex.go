package lock

import (
	"context"
	"fmt"

	"github.com/gotenure/tenure/internal/admission"
	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/session"
)

// An RWMutex is a named lock that many may hold for reading, or one alone for
// writing. A reader that comes after a waiting writer waits behind it, so
// writers are not starved; a writer waits for the readers before it, and these
// only for the writers before them.
//
// An RWMutex is cheap and safe for concurrent use. Any number of them may be
// made for one name. It has nothing to do with a Mutex of that name.
type RWMutex struct {
	session *session.Session
	name    string
	queue   *admission.RW
	owner   ownerPrefix
	policy  policy
	err     error // why the name cannot be used
}

// NewRWMutex returns the reader-writer lock of that name. It does no I/O; names
// are as for NewMutex, and so is what happens with options that cannot work.
func NewRWMutex(s *session.Session, name string, opts ...HoldOption) *RWMutex {
	policy, err := resolveHold(opts)
	prefix, unusable := keys.Space(s.Namespace()).RWLock(name)
	if unusable != nil {
		err = fmt.Errorf("%w: %w", ErrName, unusable)
	}
	return &RWMutex{
		session: s,
		name:    name,
		queue:   admission.NewRW(s, prefix, func(err error) error { return explain(name, err) }),
		owner:   newOwnerPrefix(s.Name()),
		policy:  policy,
		err:     err,
	}
}

// Name returns the name that the lock was made with.
func (m *RWMutex) Name() string { return m.name }

// Prefix returns the key prefix under which the lock's keys stand in etcd. It
// ends in a slash.
func (m *RWMutex) Prefix() string { return m.queue.Prefix() }

// Lock waits until the lock is held for writing and returns its handle. Errors
// are those of Mutex.Lock, and ErrUpgrade if ctx descends from the context of
// a read handle of the same lock.
//
// It costs one transaction if nobody is ahead, and otherwise a watch and a read
// for each one ahead that it has to wait for, one after the other.
func (m *RWMutex) Lock(ctx context.Context) (*Held, error) {
	return m.acquire(ctx, admission.Write, m.queue.Acquire)
}

// RLock waits until the lock is held for reading and returns its handle. Errors
// are those of Mutex.Lock. It costs one transaction if no writer is ahead, and
// one watch if one is.
func (m *RWMutex) RLock(ctx context.Context) (*Held, error) {
	return m.acquire(ctx, admission.Read, m.queue.Acquire)
}

// TryLock returns a handle for writing if nobody holds the lock or waits for
// it, and otherwise ErrLocked. It never queues up. It costs one transaction.
func (m *RWMutex) TryLock(ctx context.Context) (*Held, error) {
	return m.acquire(ctx, admission.Write, m.queue.Try)
}

// TryRLock returns a handle for reading if no writer holds the lock or waits
// for it, and otherwise ErrLocked. It never queues up. It costs one
// transaction, or two if one who reads has written before.
func (m *RWMutex) TryRLock(ctx context.Context) (*Held, error) {
	return m.acquire(ctx, admission.Read, m.queue.Try)
}

// Do runs work while holding the lock for writing, like Mutex.Do.
func (m *RWMutex) Do(ctx context.Context, work func(ctx context.Context, h *Held) error) error {
	held, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	return run(ctx, held, work)
}

// RDo runs work while holding the lock for reading, like Mutex.Do.
func (m *RWMutex) RDo(ctx context.Context, work func(ctx context.Context, h *Held) error) error {
	held, err := m.RLock(ctx)
	if err != nil {
		return err
	}
	return run(ctx, held, work)
}

// Downgrade makes a write handle a read handle, and nobody writes in between:
// what was written can be read on while others read it too. The write handle
// has ended, with ErrUnlocked, before anything is sent; its guards no longer
// hold. The read handle has a larger token, and its place in the queue is the
// writer's.
//
// After an error nothing is held. It returns ErrDowngrade, and changes nothing,
// for a handle that is not a write handle of this lock; ErrUnlocked or ErrLost
// if it had ended before; and what ctx or etcd says if etcd could not be told.
// It costs one transaction.
func (m *RWMutex) Downgrade(ctx context.Context, h *Held) (*Held, error) {
	if h.downgrade == nil || h.name != m.name || h.epoch().Session() != m.session {
		return nil, fmt.Errorf("%w: %q", ErrDowngrade, m.name)
	}
	attempt := m.policy.attempt(m.name)
	hold, err := h.downgrade(ctx)
	if err != nil {
		return nil, attempt.failed(err)
	}
	// The context has the values of the write handle's, and so its link.
	hold.Context().Value(linkKey{}).(*link).set(hold.Hold, true)
	return attempt.held(hold.Hold), nil
}

// acquire is what Lock and its like have in common.
func (m *RWMutex) acquire(ctx context.Context, side admission.Side,
	how func(context.Context, admission.Side, func() string) (*admission.RWHold, error)) (*Held, error) {
	if m.err != nil {
		return nil, m.err
	}
	ctx, chain, err := enterChain(ctx, m.session, m.Prefix(), m.name, side == admission.Read)
	if err != nil {
		return nil, err
	}
	attempt := m.policy.attempt(m.name)
	hold, err := how(ctx, side, m.owner.now)
	if err != nil {
		return nil, attempt.failed(err)
	}
	chain.set(hold.Hold, side == admission.Read)
	h := attempt.held(hold.Hold)
	if side == admission.Write {
		h.downgrade = hold.Downgrade
	}
	return h, nil
}

// Queue returns who holds the lock and who waits, in the order in which they
// came; it is empty if the lock is free. It costs one linearizable range.
func (m *RWMutex) Queue(ctx context.Context) ([]Entry, error) {
	if m.err != nil {
		return nil, m.err
	}
	members, err := m.queue.List(ctx)
	if err != nil {
		return nil, explain(m.name, err)
	}
	return entriesOf(members), nil
}
