package cron

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/gotenure/tenure/internal/keys"
)

// Missed says what becomes of ticks that nobody could claim in time: all
// processes were down, etcd was, or none had heard of the job yet.
type Missed int

const (
	// Skip drops them.
	Skip Missed = iota
	// Last runs the latest of them, unless a later tick is in time, and drops
	// the others.
	Last
	// All runs each of them, in order.
	All
)

// Overlap says what becomes of a tick that is due while a run of the same job
// goes on somewhere, or waits.
type Overlap int

const (
	// Forbid drops the tick. One that was missed, and is to be run after all,
	// waits instead.
	Forbid Overlap = iota
	// Queue lets the tick wait for the run before it; so many can wait, and
	// what is due then is dropped.
	Queue
	// Allow runs it beside the others; so many can run, and what is due then
	// is dropped.
	Allow
)

// Limits and defaults of a Job.
const (
	DefaultGrace    = time.Minute
	DefaultWindow   = 24 * time.Hour
	DefaultAttempts = 3
	DefaultHistory  = 20

	MaxJitter   = time.Hour
	MaxAttempts = 20
	MaxHistory  = 100
	MaxWaiting  = 32 // runs of one job that wait, see Queue and Trigger
	MaxActive   = 32 // runs of one job that run at once, see Allow
)

// A Job is what is to be run when. All processes that share a scheduler's name
// should give the same jobs; during a rolling update the ticks of both versions
// are run, each once.
type Job struct {
	// Name is the job's name among those of its scheduler: 1 to 200 bytes.
	Name string
	// Schedule says at which instants the job is due: see Parse, Every, At.
	// Where it is changed, the new one counts from the last tick on that was
	// decided under the old one.
	Schedule Schedule
	// Run is called in the one process that has claimed the tick, and again in
	// another if that one dies. See Scheduler.Run for what its return means.
	Run func(ctx context.Context, r *Run) error

	// Grace is by how much a tick may be late and counts as in time: a minute
	// unless set.
	Grace time.Duration
	// Missed says what becomes of ticks that are later.
	Missed Missed
	// Window is how old a missed tick may be that Last or All still run: a day
	// unless set. Older ones are dropped in any case.
	Window time.Duration
	// Overlap says what happens while the run before goes on.
	Overlap Overlap
	// Jitter puts each run off by up to that much, the same for one tick in all
	// processes: jobs of one minute do not all begin in its first second.
	Jitter time.Duration
	// Attempts is how many processes may die with one run before it is given up
	// as lost: 3 unless set.
	Attempts int
	// History is how many records are kept: 20 unless set, at most 100.
	History int
}

// maxJobName leaves room for what is added to it in a key.
const maxJobName = 200

// check fills in the defaults and refuses what cannot work.
func (j *Job) check() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: job %.*q: %s", ErrConfig, maxJobName, j.Name, fmt.Sprintf(format, args...))
	}
	if _, err := keys.Escape(j.Name); err != nil || len(j.Name) > maxJobName {
		return fail("a name has 1 to %d bytes", maxJobName)
	}
	if j.Schedule == nil {
		return fail("it has no schedule")
	}
	if j.Run == nil {
		return fail("it has nothing to run")
	}
	if j.Missed < Skip || j.Missed > All || j.Overlap < Forbid || j.Overlap > Allow {
		return fail("there is no such policy")
	}
	if j.Missed == Skip && j.Window != 0 {
		return fail("a window has no effect on missed ticks that are dropped")
	}
	j.Grace = or(j.Grace, DefaultGrace)
	j.Window = or(j.Window, max(DefaultWindow, j.Grace))
	j.Attempts = or(j.Attempts, DefaultAttempts)
	j.History = or(j.History, DefaultHistory)
	switch {
	case j.Grace < 0:
		return fail("a grace of %v is negative", j.Grace)
	case j.Window < j.Grace:
		return fail("a window of %v is shorter than the grace of %v", j.Window, j.Grace)
	case j.Jitter < 0 || j.Jitter > MaxJitter:
		return fail("a jitter of %v is not between 0 and %v", j.Jitter, MaxJitter)
	case j.Attempts < 1 || j.Attempts > MaxAttempts:
		return fail("%d attempts are not between 1 and %d", j.Attempts, MaxAttempts)
	case j.History < 1 || j.History > MaxHistory:
		return fail("a history of %d is not between 1 and %d", j.History, MaxHistory)
	}
	return nil
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// due is when a tick is to be run: it depends on nothing but the job and the
// tick, so that all processes agree.
func (j *Job) due(tick time.Time) time.Time {
	if j.Jitter == 0 {
		return tick
	}
	return tick.Add(time.Duration(hash(j.Name, tickID(tick)) % uint64(j.Jitter)).Truncate(time.Millisecond))
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, part := range parts {
		_, _ = h.Write([]byte(part))
		_, _ = h.Write([]byte{0})
	}
	// FNV leaves what differs at the end in the low bits only.
	sum := h.Sum64()
	sum ^= sum >> 33
	sum *= 0xff51afd7ed558ccd
	return sum ^ sum>>33
}

// lastDue returns the last tick after from that is due by limit, or the zero
// time.
func (j *Job) lastDue(from, limit time.Time) time.Time {
	last := lastTick(j.Schedule, from, limit.Add(-j.Jitter))
	for {
		next := j.Schedule.Next(latest(from, last))
		if next.IsZero() || j.due(next).After(limit) {
			return last
		}
		last = next
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
