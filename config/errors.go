package config

import (
	"errors"
	"fmt"

	"github.com/gotenure/tenure/config/internal/tree"
)

// Sentinels to test with errors.Is. The errors that match them carry their
// cause.
var (
	// ErrConfig is matched by errors of Watch for options, names and types that
	// cannot work.
	ErrConfig = errors.New("config: invalid configuration")

	// ErrRejected is matched by errors for content that could not be decoded or
	// did not pass validation. The error is a *RejectedError when it concerns
	// what is in etcd.
	ErrRejected = errors.New("config: rejected")

	// ErrMissing is why content is rejected when there is none and Required was
	// given.
	ErrMissing = errors.New("config: nothing there")

	// ErrClosed is returned by a Value that was closed.
	ErrClosed = errors.New("config: closed")

	// ErrStale is returned by Fresh when nothing was heard from etcd for longer
	// than WithMaxStaleness allows.
	ErrStale = errors.New("config: stale")

	// ErrTooLarge is matched by a *SizeError: nothing was written.
	ErrTooLarge = errors.New("config: too large")

	// ErrShadowed is returned by writes that would not have the wanted effect
	// here, because a layer above etcd sets a field, or a layer below sets what
	// was to be removed and the format cannot say so. Nothing was written.
	ErrShadowed = errors.New("config: another layer decides")

	// ErrConflict is returned by Apply when the configuration has changed since
	// the draft was made. Nothing was written.
	ErrConflict = errors.New("config: changed meanwhile")

	// ErrStaged is returned by writes while a staged change is neither promoted
	// nor taken back, and ErrNotStaged by Promote and Unstage when there is
	// none. Nothing was written.
	ErrStaged    = errors.New("config: a staged change is under way")
	ErrNotStaged = errors.New("config: no staged change")

	// ErrUnknown is returned by writes when the context ended, or etcd stayed
	// away, before it was clear whether the change was made. It may also still
	// be made later, but only if nobody else has written before.
	ErrUnknown = errors.New("config: it is not known whether the change was made")

	// ErrCompacted is returned by Rollback for a revision that neither etcd nor
	// the history remembers.
	ErrCompacted = errors.New("config: that revision is no longer known")
)

// A FieldError says what is wrong with one field: its Path, as in
// limits.max_conns, the Problem in words, and the error of the type's own
// unmarshaller in Err, if it was that which failed. It does not contain values
// of secret fields.
type FieldError = tree.FieldError

// A RejectedError says which content of etcd was not taken and why. It matches
// ErrRejected.
type RejectedError struct {
	Name     string
	Revision int64 // at which the content was written
	Err      error // joined *FieldErrors, a codec's error, or that of the validation
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("%v: %q at revision %d: %v", ErrRejected, e.Name, e.Revision, e.Err)
}

// Is makes a RejectedError match ErrRejected.
func (e *RejectedError) Is(target error) bool { return target == ErrRejected }

func (e *RejectedError) Unwrap() error { return e.Err }

// A SizeError says by how much a change does not fit into a request to etcd. It
// matches ErrTooLarge.
type SizeError struct {
	Size, Limit int // in bytes, of the whole request
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%v: the request has %d bytes and etcd takes %d", ErrTooLarge, e.Size, e.Limit)
}

// Is makes a SizeError match ErrTooLarge.
func (e *SizeError) Is(target error) bool { return target == ErrTooLarge }
