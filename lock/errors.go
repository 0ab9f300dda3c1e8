package lock

import (
	"errors"
	"fmt"

	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/waitqueue"
)

// Sentinels to test with errors.Is. The errors that match them carry their
// cause.
var (
	// ErrLocked is returned by TryLock when somebody else holds the lock or
	// waits for it.
	ErrLocked = errors.New("lock: held by somebody else")

	// ErrDeadlock is returned at once by Lock and Do when their context
	// descends from that of a handle of the same lock that is still held: the
	// caller would wait for itself.
	ErrDeadlock = errors.New("lock: would wait for itself")

	// ErrLost is the cause of a handle's context when the lock was lost rather
	// than unlocked, and is returned by Unlock and Do then. Lock returns it when
	// the session or the place in the queue was lost while waiting.
	// The error also matches session.ErrLost, session.ErrClosed or
	// *session.KeyError, depending on what happened: a loop that locks again
	// after a loss ends when it is session.ErrClosed.
	ErrLost = errors.New("lock: lost")

	// ErrUnlocked is the cause of a handle's context after Unlock, and is
	// returned by a second Unlock.
	ErrUnlocked = errors.New("lock: unlocked")

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
	case errors.Is(err, waitqueue.ErrBusy):
		return fmt.Errorf("%w: %q", ErrLocked, name)
	case errors.Is(err, leasekey.ErrForeignKey):
		return fmt.Errorf("%w: %q: %w", ErrShared, name, err)
	case leasekey.Lost(err):
		return fmt.Errorf("%w: %q: %w", ErrLost, name, err)
	}
	return fmt.Errorf("lock: %q: %w", name, err)
}
