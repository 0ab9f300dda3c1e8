package lock

import (
	"context"
	"fmt"

	"github.com/gotenure/tenure/internal/admission"
	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/session"
)

// A Semaphore is a named number of permits that processes share. Requests are
// served in the order in which they came, whatever their size, so a large one
// is not overtaken by small ones. The permits of a holder whose session is lost
// come back, once, when its lease has run out.
//
// How many permits there are is agreed on in etcd: the first user sets it, and
// whoever was made with another number gets ErrLimit. SetLimit changes it for
// all; a Semaphore that has worked with the former number goes on with the new
// one.
//
// A Semaphore is safe for concurrent use. Any number of them may be made for
// one name.
type Semaphore struct {
	session *session.Session
	name    string
	queue   *admission.Permits
	owner   ownerPrefix
	policy  policy
	err     error // why the name or the limit cannot be used
}

// NewSemaphore returns the semaphore of that name, with so many permits. It
// does no I/O; names are as for NewMutex. A limit below 1 makes every method
// return an error that matches ErrPermits, an option that cannot work one that
// matches ErrOption.
func NewSemaphore(s *session.Session, name string, limit int, opts ...HoldOption) *Semaphore {
	policy, err := resolveHold(opts)
	prefix, unusable := keys.Space(s.Namespace()).Semaphore(name)
	switch {
	case unusable != nil:
		err = fmt.Errorf("%w: %w", ErrName, unusable)
	case limit < 1:
		err = fmt.Errorf("%w: a semaphore of %d", ErrPermits, limit)
	}
	return &Semaphore{
		session: s,
		name:    name,
		queue:   admission.NewPermits(s, prefix, int64(limit), func(err error) error { return explain(name, err) }),
		owner:   newOwnerPrefix(s.Name()),
		policy:  policy,
		err:     err,
	}
}

// Name returns the name that the semaphore was made with.
func (m *Semaphore) Name() string { return m.name }

// Prefix returns the key prefix under which the semaphore's keys stand in etcd.
// It ends in a slash.
func (m *Semaphore) Prefix() string { return m.queue.Prefix() }

// Acquire waits until so many permits are held and returns their handle; its
// Unlock gives all of them back. Errors are those of Mutex.Lock, ErrPermits for
// fewer than one or more than the limit, also if the limit falls below while
// waiting, and ErrLimit.
//
// A goroutine that acquires again what it holds a part of can wait for itself,
// as with any semaphore; ErrDeadlock is not returned for it.
//
// It costs one transaction if permits are free and few others hold any;
// otherwise a read more, and if it has to wait one or two watches with a read
// each, and a write once it was admitted.
func (m *Semaphore) Acquire(ctx context.Context, permits int) (*Held, error) {
	return m.acquire(ctx, permits, m.queue.Acquire)
}

// TryAcquire returns a handle if so many permits are free and nobody waits, and
// otherwise ErrLocked. It never queues up. It costs a read and a transaction.
func (m *Semaphore) TryAcquire(ctx context.Context, permits int) (*Held, error) {
	return m.acquire(ctx, permits, m.queue.Try)
}

// Do runs work while holding so many permits, like Mutex.Do.
func (m *Semaphore) Do(ctx context.Context, permits int, work func(ctx context.Context, h *Held) error) error {
	held, err := m.Acquire(ctx, permits)
	if err != nil {
		return err
	}
	return run(ctx, held, work)
}

func (m *Semaphore) acquire(ctx context.Context, permits int,
	how func(context.Context, int64, func() string) (*leasekey.Hold, error)) (*Held, error) {
	switch {
	case m.err != nil:
		return nil, m.err
	case permits < 1:
		return nil, fmt.Errorf("%w: %q: %d were asked for", ErrPermits, m.name, permits)
	}
	attempt := m.policy.attempt(m.name)
	hold, err := how(ctx, int64(permits), m.owner.now)
	if err != nil {
		return nil, attempt.failed(err)
	}
	return attempt.held(hold), nil
}

// Limit returns how many permits there are, 0 if nobody has used the semaphore
// yet. It costs one linearizable read.
func (m *Semaphore) Limit(ctx context.Context) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.queue.Limit(ctx)
	return int(n), explain(m.name, err)
}

// SetLimit changes how many permits there are, for all users. Holders keep what
// they hold: a lower limit is reached as they unlock. Waiting requests for more
// than the new limit return ErrPermits. It costs a read and a transaction, and
// can be repeated after an error.
func (m *Semaphore) SetLimit(ctx context.Context, limit int) error {
	switch {
	case m.err != nil:
		return m.err
	case limit < 1:
		return fmt.Errorf("%w: %q: a limit of %d", ErrPermits, m.name, limit)
	}
	return explain(m.name, m.queue.SetLimit(ctx, int64(limit)))
}

// Queue returns who holds permits and who waits, in the order in which they
// came. It costs two linearizable reads.
func (m *Semaphore) Queue(ctx context.Context) ([]Entry, error) {
	if m.err != nil {
		return nil, m.err
	}
	members, err := m.queue.List(ctx)
	if err != nil {
		return nil, explain(m.name, err)
	}
	return entriesOf(members), nil
}
