package session

import (
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Sentinels to test with errors.Is.
var (
	// ErrClosed is returned by a session that was closed, and is the cause of
	// its last epoch's context.
	ErrClosed = errors.New("session: closed")

	// ErrLost is matched by every error that ends an epoch before the session
	// was closed. The error is a *LossError.
	ErrLost = errors.New("session: lease lost")

	// ErrConfig is matched by the error of New for options that cannot work.
	ErrConfig = errors.New("session: invalid configuration")

	// ErrWorkRunning is returned by Close when its context ended while work
	// that stands on the lease had not returned. The lease is then left to
	// run out, because revoking it would hand over what is still in use.
	ErrWorkRunning = errors.New("session: work is still running")
)

// A Reason says how a lease was lost.
type Reason string

const (
	// ReasonDeadline: no renewal was answered in time. etcd may still hold the
	// lease for a moment, but can give what hangs on it to somebody else soon.
	ReasonDeadline Reason = "deadline"
	// ReasonGone: etcd no longer knows the lease. It ran out there, or
	// somebody revoked it.
	ReasonGone Reason = "gone"
)

// A LossError says which lease was lost and how. It matches ErrLost.
type LossError struct {
	Lease  clientv3.LeaseID
	Reason Reason
	// Err is what the last attempt to renew answered, or nil.
	Err error
}

func (e *LossError) Error() string {
	what := "etcd no longer knows it"
	if e.Reason == ReasonDeadline {
		what = "no renewal was answered in time"
	}
	if e.Err == nil {
		return fmt.Sprintf("%v: lease %x: %s", ErrLost, int64(e.Lease), what)
	}
	return fmt.Sprintf("%v: lease %x: %s: %v", ErrLost, int64(e.Lease), what, e.Err)
}

// Is makes a LossError match ErrLost.
func (e *LossError) Is(target error) bool { return target == ErrLost }

func (e *LossError) Unwrap() error { return e.Err }
