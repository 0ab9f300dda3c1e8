package queue

import (
	"fmt"
	"log/slog"
	"time"
)

// Limits and defaults of a queue.
const (
	DefaultLimit      = 10_000
	DefaultMaxPayload = 32 << 10
	DefaultTries      = 5
	DefaultRetention  = time.Hour

	MaxLimit     = 100_000
	MaxPayload   = 512 << 10
	MaxTries     = 100
	MaxRetention = 30 * 24 * time.Hour
	MaxDelay     = 365 * 24 * time.Hour
	MaxActive    = 1000
	MaxDedupe    = 512 // bytes of a dedupe key

	// MaxBytes bounds the limit times the largest payload, so that a queue that
	// is full of the largest tasks takes up half of what etcd allows by default
	// for everything.
	MaxBytes = 1 << 30
)

// An Option changes a queue's defaults. All processes that use a queue should
// give the same ones.
type Option func(*Queue) error

// WithLimit sets how many tasks the queue may hold, the dead letters included:
// 10,000 unless set. When so many are there Enqueue returns ErrFull.
func WithLimit(n int) Option {
	return func(q *Queue) error {
		q.limit = n
		return between("a limit", n, 1, MaxLimit)
	}
}

// WithMaxPayload sets how many bytes a task's payload may have: 32 KiB unless
// set.
func WithMaxPayload(bytes int) Option {
	return func(q *Queue) error {
		q.maxPayload = bytes
		return between("a largest payload", bytes, 1, MaxPayload)
	}
}

// WithTries sets how often a task is tried before it goes to the dead letters:
// 5 times unless set. A try whose process died counts.
func WithTries(n int) Option {
	return func(q *Queue) error {
		q.tries = n
		return between("a number of tries", n, 1, MaxTries)
	}
}

// WithBackoff sets how long a task waits after its n-th try has failed. Unless
// set it is a second, doubled for each further try, up to five minutes, and a
// fifth more or less by chance.
func WithBackoff(f func(n int) time.Duration) Option {
	return func(q *Queue) error {
		if f == nil {
			return fmt.Errorf("the backoff is nil")
		}
		q.backoff = f
		return nil
	}
}

// WithRetention sets for how long a task that is done can still be looked up,
// if it has a result, and its dedupe key is remembered, if it has one: an hour
// unless set. Of other tasks nothing remains.
func WithRetention(d time.Duration) Option {
	return func(q *Queue) error {
		q.retention = d
		if d < time.Second || d > MaxRetention {
			return fmt.Errorf("a retention of %v is not between a second and %v", d, MaxRetention)
		}
		return nil
	}
}

// WithMaxActive bounds how many tasks of the queue are claimed at once, by all
// consumers together: there is no bound unless set. A task that a consumer has
// fetched ahead counts. It costs one more key for each claim, and each consumer
// two more events for each task.
func WithMaxActive(n int) Option {
	return func(q *Queue) error {
		q.maxActive = n
		return between("a largest number of claimed tasks", n, 1, MaxActive)
	}
}

// WithLogger makes the queue say what its consumers do. The default is silence.
func WithLogger(log *slog.Logger) Option {
	return func(q *Queue) error {
		if log == nil {
			return fmt.Errorf("the logger is nil")
		}
		q.log = log
		return nil
	}
}

func between(what string, n, low, high int) error {
	if n < low || n > high {
		return fmt.Errorf("%s of %d is not between %d and %d", what, n, low, high)
	}
	return nil
}

// A TaskOption changes how a task is enqueued.
type TaskOption func(*task) error

// Delay puts the task off: nobody claims it before.
func Delay(d time.Duration) TaskOption {
	return func(t *task) error {
		if d < 0 || d > MaxDelay {
			return fmt.Errorf("a delay of %v is not between 0 and %v", d, MaxDelay)
		}
		t.delay = d
		return nil
	}
}

// Priorities of tasks: any from Lowest to Highest. A consumer takes one of a
// higher priority first.
const (
	Lowest  = 0
	Normal  = 4
	Highest = 9
)

// Priority sets the task's priority; Normal unless set.
func Priority(p int) TaskOption {
	return func(t *task) error {
		t.Priority = p
		return between("a priority", p, Lowest, Highest)
	}
}

// Dedupe gives the task a key. While a task with that key is in the queue, or
// among the dead letters, or was done less than the retention ago, Enqueue
// returns ErrDuplicate and the id of that task.
func Dedupe(key string) TaskOption {
	return func(t *task) error {
		t.Dedupe = key
		return between("the length of a dedupe key", len(key), 1, MaxDedupe)
	}
}

// A ConsumeOption changes how tasks are consumed.
type ConsumeOption func(*consumption) error

type consumption struct {
	workers, prefetch int
	drain, stall      time.Duration
}

// Workers sets how many tasks are worked on at once: 1 unless set.
func Workers(n int) ConsumeOption {
	return func(c *consumption) error {
		c.workers = n
		return between("a number of workers", n, 1, 10_000)
	}
}

// Prefetch sets how many more tasks are claimed ahead, so that a worker that is
// free need not wait for etcd. It is good for many short tasks; long ones had
// better stay where another process can take them. 0 unless set.
func Prefetch(n int) ConsumeOption {
	return func(c *consumption) error {
		c.prefetch = n
		return between("a number of tasks ahead", n, 0, 10_000)
	}
}

// Drain lets tasks that are being worked on go on for that long when the
// consumer is told to stop. Then, or at once if it is not given, their contexts
// are cancelled with the cause ErrStopped.
func Drain(d time.Duration) ConsumeOption {
	return func(c *consumption) error {
		c.drain = d
		if d < 0 {
			return fmt.Errorf("a time to drain of %v is negative", d)
		}
		return nil
	}
}

// Stall cancels the context of a task, with the cause ErrStalled, when its
// handler has not called Task.Progress for that long. The death of a process is
// noticed without it; this is for handlers that hang.
func Stall(d time.Duration) ConsumeOption {
	return func(c *consumption) error {
		c.stall = d
		if d <= 0 {
			return fmt.Errorf("a time to stall of %v is not positive", d)
		}
		return nil
	}
}
