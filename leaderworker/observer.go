package leaderworker

import "time"

// An Observer is told what happens to this worker's shards; it is what metrics
// are made of. Nil functions are skipped. The functions are called one at a
// time, and must return at once.
type Observer struct {
	// Claimed is called when the worker owns a shard, before Work is.
	Claimed func(Shard)
	// Released is called when it no longer does: Err is nil if the shard was
	// given up after Work had returned, and otherwise matches ErrLost.
	Released func(Released)
	// Overdue is called when Work has not returned in the time that Config.Drain
	// gives it. The shard stays with the worker until it has.
	Overdue func(Overdue)
	// Failed is called when Work returned an error without being told to stop.
	Failed func(Failed)
	// Planned is called, in the process that leads, when shards were assigned.
	Planned func(Planned)
}

// Released is the end of an ownership.
type Released struct {
	Shard Shard
	Held  time.Duration
	Err   error
}

// Overdue is a Work that does not return.
type Overdue struct {
	Shard Shard
	Since time.Time // when it was told to stop
}

// Failed is a Work that returned an error.
type Failed struct {
	Shard Shard
	Err   error
	Retry time.Duration // after which Work is called again
}

// Planned is one change of the assignment.
type Planned struct {
	Workers  int // whose assignment was written
	Moves    int // shards that are taken from a worker that is there
	Unplaced int // shards that no worker can have
}
