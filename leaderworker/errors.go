package leaderworker

import "errors"

// Sentinels to test with errors.Is. The errors that match them carry their
// cause.
var (
	// ErrConfig is matched by the error of Run for a configuration that cannot
	// work, and by that of a source's set function for such shards.
	ErrConfig = errors.New("leaderworker: invalid configuration")

	// ErrRevoked is the cause of Work's context when the shard is to go to
	// another worker, or is no longer there. The shard is still owned until Work
	// has returned.
	ErrRevoked = errors.New("leaderworker: shard revoked")

	// ErrLost is the cause of both contexts of a shard that was lost with the
	// session's lease, or whose owner key somebody deleted. The error also
	// matches session.ErrLost, session.ErrClosed or *session.KeyError, depending
	// on what happened.
	ErrLost = errors.New("leaderworker: shard lost")

	// ErrReleased is the cause of Shard.Context once the shard was given up after
	// Work had returned.
	ErrReleased = errors.New("leaderworker: shard released")
)
