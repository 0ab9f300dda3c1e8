package cron

import "errors"

// Sentinels to test with errors.Is.
var (
	// ErrConfig is matched by the errors for a name, an expression, a job or
	// an option that cannot work.
	ErrConfig = errors.New("cron: invalid configuration")

	// ErrUnknownJob is returned for a job that no process has run yet, or
	// that was forgotten.
	ErrUnknownJob = errors.New("cron: no such job")

	// ErrBusy is returned by Trigger when too many runs wait already.
	ErrBusy = errors.New("cron: too many runs are waiting")

	// ErrLost is the cause of a run's context when its claim was lost: another
	// process takes the run over. It also matches session.ErrLost,
	// session.ErrClosed or *session.KeyError.
	ErrLost = errors.New("cron: the run's claim was lost")

	// ErrStopped is the cause of a run's context when the scheduler was told
	// to stop and the time to drain has passed.
	ErrStopped = errors.New("cron: the scheduler stops")

	// ErrRunning is returned by Run if the scheduler runs already.
	ErrRunning = errors.New("cron: the scheduler runs already")
)
