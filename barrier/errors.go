package barrier

import (
	"errors"
	"fmt"

	"github.com/gotenure/tenure/internal/leasekey"
)

// Sentinels to test with errors.Is. The errors that match them carry their
// cause.
var (
	// ErrBroken is returned to everybody who waits for a party that will not
	// come: it died, or gave up. The error is a *BrokenError, which names it.
	ErrBroken = errors.New("barrier: broken")

	// ErrParties is returned when others use the same name with another number
	// of parties, or contributions. The error is a *PartiesError.
	ErrParties = errors.New("barrier: different number of parties")

	// ErrFull is returned to a party too many: the others are complete without
	// it. It leaves no key.
	ErrFull = errors.New("barrier: all parties are there already")

	// ErrLost is returned when the session was lost or closed during the call.
	// The error also matches session.ErrLost or session.ErrClosed. A party that
	// waited is then dead to the others.
	ErrLost = errors.New("barrier: session lost")

	// ErrHeld is returned by Barrier.Hold when the barrier is held already.
	ErrHeld = errors.New("barrier: held already")

	// ErrNotHeld is returned by Barrier.Release when nobody holds the barrier.
	ErrNotHeld = errors.New("barrier: not held")

	// ErrLeft is returned by Entry.Leave when it was called before.
	ErrLeft = errors.New("barrier: left already")

	// ErrRemoved is returned to those who wait for a latch that was removed.
	ErrRemoved = errors.New("barrier: latch removed")

	// ErrName is returned by every method of a barrier whose name cannot be
	// used.
	ErrName = errors.New("barrier: unusable name")

	// ErrCount is returned by every method of a barrier with an impossible
	// number of parties, and by Latch.Set for an impossible count.
	ErrCount = errors.New("barrier: unusable number")
)

// A Reason says why a party will not come.
type Reason string

const (
	// ReasonDied: its key is gone, with its lease or by somebody's hand.
	ReasonDied Reason = "died"
	// ReasonGaveUp: its context ended while it waited.
	ReasonGaveUp Reason = "gave up"
	// ReasonAction: the action that it ran for all failed.
	ReasonAction Reason = "its action failed"
	// ReasonReset: it called Reset.
	ReasonReset Reason = "reset the barrier"
)

// A BrokenError says who broke what others waited for. All parties that waited
// for the same thing get the same. It matches ErrBroken.
type BrokenError struct {
	Name string
	// Generation is the number of the one that was to pass. The next attempt
	// has the same.
	Generation int64
	// By is the party that did not come. It is the zero Party if the caller was
	// cut off for so long that nobody can tell it any more.
	By     Party
	Reason Reason
	// Text is what the action returned, if Reason is ReasonAction.
	Text string
}

func (e *BrokenError) Error() string {
	who, why := e.By.String(), string(e.Reason)
	if e.By == (Party{}) {
		who, why = "a party", "did not come, and it is not known any more which"
	}
	if e.Text != "" {
		why += ": " + e.Text
	}
	return fmt.Sprintf("%v: %q: %s %s", ErrBroken, e.Name, who, why)
}

// Is makes a BrokenError match ErrBroken.
func (e *BrokenError) Is(target error) bool { return target == ErrBroken }

// A PartiesError has both numbers. It matches ErrParties.
type PartiesError struct {
	Name  string
	Own   int // what the caller has
	Other int // what the others have
}

func (e *PartiesError) Error() string {
	return fmt.Sprintf("%v: %q: %d here, %d there", ErrParties, e.Name, e.Own, e.Other)
}

// Is makes a PartiesError match ErrParties.
func (e *PartiesError) Is(target error) bool { return target == ErrParties }

// explain puts an error of the layers below into this package's words. The
// cause stays in the chain.
func explain(name string, err error) error {
	var broken *BrokenError
	var parties *PartiesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &broken), errors.As(err, &parties):
		return err
	case leasekey.Lost(err):
		return fmt.Errorf("%w: %q: %w", ErrLost, name, err)
	}
	return fmt.Errorf("barrier: %q: %w", name, err)
}
