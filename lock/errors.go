package lock

import (
	"errors"
	"fmt"

	"github.com/gotenure/tenure/internal/admission"
	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/waitqueue"
)

// Sentinels to test with errors.Is. The errors that match them carry their
// cause.
var (
	// ErrLocked is returned by TryLock, TryRLock and TryAcquire when it would
	// have been necessary to wait.
	ErrLocked = errors.New("lock: held by somebody else")

	// ErrDeadlock is returned at once by Lock and Do when their context
	// descends from that of a handle of the same lock that is still held: the
	// caller would wait for itself.
	ErrDeadlock = errors.New("lock: would wait for itself")

	// ErrUpgrade is returned at once by RWMutex.Lock when its context descends
	// from that of a read handle of the same lock: two readers who both wait to
	// write would wait for each other. Release the read handle first, and look
	// again at what was read once the write handle is there. It matches
	// ErrDeadlock too.
	ErrUpgrade = fmt.Errorf("%w: a read handle cannot become a write handle", ErrDeadlock)

	// ErrDowngrade is returned by RWMutex.Downgrade for a handle that is not a
	// write handle of that lock.
	ErrDowngrade = errors.New("lock: not a write handle of this lock")

	// ErrLimit is returned by a semaphore whose users have agreed on another
	// limit than the one it was made with.
	ErrLimit = errors.New("lock: another limit was agreed on")

	// ErrPermits is returned for a number of permits that can never be held:
	// fewer than one, or more than the limit.
	ErrPermits = errors.New("lock: unusable number of permits")

	// ErrMany is returned by All for too many locks, none, or the same one twice,
	// and for locks of different sessions.
	ErrMany = errors.New("lock: these locks cannot be taken together")

	// ErrLost is the cause of a handle's context when the lock was lost rather
	// than unlocked, and is returned by Unlock and Do then. Lock returns it when
	// the session or the place in the queue was lost while waiting.
	// The error also matches session.ErrLost, session.ErrClosed or
	// *session.KeyError, depending on what happened: a loop that locks again
	// after a loss ends when it is session.ErrClosed.
	ErrLost = errors.New("lock: lost")

	// ErrMaxHold is the cause of a handle's context when the lock was held for as
	// long as WithMaxHold allows. It matches ErrLost too.
	ErrMaxHold = fmt.Errorf("%w: held for the maximum", ErrLost)

	// ErrForced is the cause of a handle's context when somebody has taken the
	// lock away with Entry.ForceRelease, and is returned by a Lock that loses its
	// place by that. It matches ErrLost too.
	ErrForced = fmt.Errorf("%w: taken away", ErrLost)

	// ErrNoSession is returned by Request and ForceRelease when whoever has the
	// lock is no session of that namespace: another program, or one that has
	// gone. Nobody there would hear of it.
	ErrNoSession = errors.New("lock: cannot be asked for")

	// ErrUnlocked is the cause of a handle's context after Unlock, and is
	// returned by a second Unlock.
	ErrUnlocked = errors.New("lock: unlocked")

	// ErrNotHeld is returned by a transaction of Held.Txn that did nothing because
	// the lock was no longer held. It comes with ErrUnlocked or ErrLost.
	ErrNotHeld = errors.New("lock: no longer held, nothing was written")

	// ErrPending is returned by Unlock when its context ended before etcd
	// confirmed. The lock is no longer held here and goes on being released in
	// the background; at the latest it goes with the lease.
	ErrPending = errors.New("lock: release not confirmed yet")

	// ErrName is returned by every method of a lock whose name cannot be used.
	ErrName = errors.New("lock: unusable name")

	// ErrOption is returned by every method of a lock that was made with an
	// option that cannot work.
	ErrOption = errors.New("lock: unusable option")

	// ErrShared is returned when another program uses this session's lease to
	// lock the same name, so that the two could not be told apart.
	ErrShared = errors.New("lock: the session's lease is used on this lock by another program")
)

// explain puts an error of the queue into this package's words. The cause
// stays in the chain.
func explain(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, leasekey.ErrReleased):
		return ErrUnlocked
	case errors.Is(err, leasekey.ErrPending):
		return fmt.Errorf("%w: %q: %w", ErrPending, name, err)
	case errors.Is(err, waitqueue.ErrBusy), errors.Is(err, admission.ErrBusy):
		return fmt.Errorf("%w: %q", ErrLocked, name)
	case errors.Is(err, admission.ErrTooMany):
		return fmt.Errorf("%w: %q: %w", ErrPermits, name, err)
	case errors.Is(err, leasekey.ErrForeignKey):
		return fmt.Errorf("%w: %q: %w", ErrShared, name, err)
	case errors.As(err, new(*admission.LimitError)):
		return fmt.Errorf("%w: %q: %w", ErrLimit, name, err)
	case errors.Is(err, ErrMaxHold):
		return fmt.Errorf("%w: %q", err, name)
	case errors.Is(err, leasekey.ErrForced):
		return fmt.Errorf("%w: %q", ErrForced, name)
	case errors.Is(err, leasekey.ErrNoSession):
		return fmt.Errorf("%w: %q: %w", ErrNoSession, name, err)
	case leasekey.Lost(err):
		return fmt.Errorf("%w: %q: %w", ErrLost, name, err)
	}
	return fmt.Errorf("lock: %q: %w", name, err)
}
