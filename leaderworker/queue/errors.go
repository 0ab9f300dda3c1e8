package queue

import "errors"

// Sentinels to test with errors.Is.
var (
	// ErrConfig is matched by the errors for a name, an option or a task that
	// cannot work.
	ErrConfig = errors.New("queue: invalid configuration")

	// ErrFull is returned by Enqueue when the queue holds as many tasks as it
	// may, or etcd has no room. Try again later, or slow down.
	ErrFull = errors.New("queue: full")

	// ErrDuplicate is returned by Enqueue, with the id of the first, for a task
	// whose dedupe key was accepted before and is still remembered.
	ErrDuplicate = errors.New("queue: a task with this dedupe key was accepted before")

	// ErrUnknown is returned by Enqueue when etcd did not answer and nothing
	// tells whether the task was accepted. Give a dedupe key and try again.
	ErrUnknown = errors.New("queue: not known whether the task was accepted")

	// ErrNoTask is returned for an id that is not, or no longer, known.
	ErrNoTask = errors.New("queue: no such task")

	// ErrLost is the cause of a task's context when its claim was lost, because
	// the session lost its lease or the task was cancelled: somebody else may
	// have it. It also matches session.ErrLost, session.ErrClosed or
	// *session.KeyError.
	ErrLost = errors.New("queue: the task's claim was lost")

	// ErrStopped is the cause of a task's context when its consumer stops and
	// the time to drain has passed.
	ErrStopped = errors.New("queue: the consumer stops")

	// ErrStalled is the cause of a task's context when it has not reported any
	// progress for the time given to Stall.
	ErrStalled = errors.New("queue: the task has made no progress")
)

// Permanent marks an error of a handler as one that trying again will not
// mend: the task goes to the dead letters at once. Nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }
