package election

import (
	"errors"
	"fmt"

	"github.com/gotenure/tenure/internal/leasekey"
)

// Sentinels to test with errors.Is. The errors that match them carry their
// cause.
var (
	// ErrLost is the cause of a term's context when the term was lost rather
	// than given up, and is returned by its methods then. The error also
	// matches session.ErrLost, session.ErrClosed or *session.KeyError, depending
	// on what happened.
	ErrLost = errors.New("election: term lost")

	// ErrResigned is the cause of a term's context after Resign, and in Run when
	// the work has returned. Proclaim and Transfer return it then.
	ErrResigned = errors.New("election: resigned")

	// ErrTransferred is the cause of a term's context after Transfer.
	ErrTransferred = errors.New("election: handed over")

	// ErrPreempted is the cause of a term's context when a candidate with a
	// higher rank is to take over, see Priority.
	ErrPreempted = errors.New("election: a better candidate takes over")

	// ErrUnhealthy is the cause of a term's context when its health check failed
	// too often, see Health.
	ErrUnhealthy = errors.New("election: unhealthy")

	// ErrPending is returned by Resign and Transfer when their context ended
	// before etcd confirmed. The term is over here and goes on being given up in
	// the background; at the latest it goes with the lease. Both can be called
	// again to wait further.
	ErrPending = errors.New("election: not confirmed yet")

	// ErrNoLeader is returned by Leader when nobody leads.
	ErrNoLeader = errors.New("election: nobody leads")

	// ErrNotStanding is returned by Transfer when no candidate of that name
	// stands behind the leader.
	ErrNotStanding = errors.New("election: no such candidate")

	// ErrBlocked is returned by Transfer when a candidate of another program
	// stands between the leader and the one that was named. Such a candidate
	// does not look whether its key is still there, so it cannot be asked to
	// step back: it would come to lead beside the other.
	ErrBlocked = errors.New("election: a candidate of another program comes first")

	// ErrName is returned by every method of an election whose name cannot be
	// used.
	ErrName = errors.New("election: unusable name")

	// ErrOption is returned by every method of an election that was made with
	// an option that cannot work.
	ErrOption = errors.New("election: unusable option")

	// ErrShared is returned when another program uses this session's lease to
	// stand in the same election, so that the two could not be told apart.
	ErrShared = errors.New("election: the session's lease is used in this election by another program")
)

// explainer puts errors of the parts below into this package's words. The
// cause stays in the chain.
func explainer(name string) func(error) error {
	return func(err error) error {
		switch {
		case err == nil || ours(err):
			return err
		case errors.Is(err, leasekey.ErrPending):
			return fmt.Errorf("%w: %q: %w", ErrPending, name, err)
		case errors.Is(err, leasekey.ErrForeignKey):
			return fmt.Errorf("%w: %q: %w", ErrShared, name, err)
		case leasekey.Lost(err):
			return fmt.Errorf("%w: %q: %w", ErrLost, name, err)
		}
		return fmt.Errorf("election: %q: %w", name, err)
	}
}

// ours tells whether an error is in this package's words already.
func ours(err error) bool {
	for _, sentinel := range []error{
		ErrLost, ErrResigned, ErrTransferred, ErrPreempted, ErrUnhealthy, ErrPending, ErrNoLeader,
		ErrNotStanding, ErrBlocked, ErrName, ErrOption, ErrShared,
	} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}
