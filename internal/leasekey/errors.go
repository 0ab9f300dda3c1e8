package leasekey

import (
	"errors"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/session"
)

// Errors that the packages above translate into their own words.
var (
	// ErrReleased: the hold was released before.
	ErrReleased = errors.New("released")
	// ErrPending: the key could not be removed in time; it is removed in the
	// background or goes with the lease.
	ErrPending = errors.New("the key is still being removed")
	// ErrForced: somebody has taken the key away.
	ErrForced = errors.New("taken away by somebody who would not wait")
	// ErrForeignKey: the key that this session would use exists, but not
	// through this package: another program uses the same lease.
	ErrForeignKey = errors.New("another program uses this session's lease on the same name")
)

// Lost tells whether an error means that a key was lost, rather than given up.
func Lost(err error) bool {
	var deleted *session.KeyError
	return errors.Is(err, session.ErrLost) || errors.Is(err, session.ErrClosed) || errors.As(err, &deleted)
}

// Refused tells whether an error of a write means that it was certainly not
// applied, and that repeating it is useless, see groupcommit.Refused. After all
// others it may be applied at any time.
func Refused(err error) bool { return groupcommit.Refused(err) }
