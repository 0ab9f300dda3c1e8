package cron

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/mailbox"
	"github.com/gotenure/tenure/session"
)

// An Option changes a scheduler's defaults.
type Option func(*Scheduler) error

// WithDrain lets runs go on for that long when the scheduler is told to stop.
// Then, or at once if it is not given, their contexts are cancelled with the
// cause ErrStopped, and another process takes over what was interrupted.
func WithDrain(d time.Duration) Option {
	return func(c *Scheduler) error {
		if d < 0 {
			return fmt.Errorf("a time to drain of %v is negative", d)
		}
		c.drain = d
		return nil
	}
}

// WithLogger makes the scheduler say what it does. The default is silence.
func WithLogger(log *slog.Logger) Option {
	return func(c *Scheduler) error {
		if log == nil {
			return fmt.Errorf("the logger is nil")
		}
		c.log = log
		return nil
	}
}

// WithObserver calls f with the record of every run that this process claims,
// of every one that it ends, and of every tick that it drops. It is what metrics
// are made of. f is called by one goroutine at a time and must return at once.
func WithObserver(f func(Record)) Option {
	return func(c *Scheduler) error {
		c.observe = f
		return nil
	}
}

// A Scheduler runs jobs, together with all others of the same name: each tick
// of each job is claimed by one of them. It is safe for concurrent use.
type Scheduler struct {
	session *session.Session
	name    string
	live    string // the prefix of states and claims
	runs    string // the prefix of records
	drain   time.Duration
	log     *slog.Logger
	observe func(Record)

	mail *mailbox.Box // for the goroutine of Run

	mu      sync.Mutex
	jobs    map[string]*Job // replaced, never changed
	version int             // counts the replacements
	running bool
}

// New returns the scheduler of that name: a name of 1 to 1,024 bytes, whatever
// bytes they are. It does no I/O.
func New(s *session.Session, name string, opts ...Option) (*Scheduler, error) {
	if s == nil {
		return nil, fmt.Errorf("%w: the session is nil", ErrConfig)
	}
	prefix, err := keys.Space(s.Namespace()).Cron(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c := &Scheduler{
		session: s,
		name:    name,
		live:    prefix + "live/",
		runs:    prefix + "runs/",
		log:     slog.New(slog.DiscardHandler),
		observe: func(Record) {},
		mail:    mailbox.New(),
	}
	for _, opt := range opts {
		if err := opt(c); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	return c, nil
}

// Set replaces the jobs that this process runs: all of them, or none if one
// cannot work. It may be called while Run runs. What a job that is no longer
// there has claimed goes on to its end; its record and its state stay in etcd
// until Forget.
func (c *Scheduler) Set(jobs ...Job) error {
	set := make(map[string]*Job, len(jobs))
	for _, job := range jobs {
		if err := job.check(); err != nil {
			return err
		}
		if set[job.Name] != nil {
			return fmt.Errorf("%w: there are two jobs %q", ErrConfig, job.Name)
		}
		set[job.Name] = &job
	}
	c.mu.Lock()
	c.jobs = set
	c.version++
	c.mu.Unlock()
	c.mail.Ring()
	return nil
}

func (c *Scheduler) defined() (jobs map[string]*Job, version int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jobs, c.version
}

// Jobs returns the names of the jobs that this process runs, in order.
func (c *Scheduler) Jobs() []string {
	jobs, _ := c.defined()
	return slices.Sorted(maps.Keys(jobs))
}

// Run claims ticks and runs jobs until ctx ends, and returns when all runs of
// this process have ended and are recorded or given back. It goes on over the
// loss of the session's lease: runs of the lost lease are cancelled with the
// cause ErrLost, and other processes take them over.
//
// A job's Run that returns nil is recorded as done, one that returns an error
// as failed; neither is run again for the same tick. Its context ends when the
// claim is lost, and when the scheduler stops, see WithDrain. One that returns an
// error then is run again, by another process. While one does not return although
// its context has ended, this process claims nothing for that job.
//
// Run returns nil after ctx has ended, session.ErrClosed if the session was
// closed, ErrRunning if it runs already, and another error if etcd refuses
// access.
//
// It costs one standing watch, and two transactions for each run. Every process
// gets four events for each run of any.
func (c *Scheduler) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.running {
		c.mu.Unlock()
		return ErrRunning
	}
	c.running = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.running = false
		c.mu.Unlock()
	}()
	workers := &workers{running: make(map[*Run]bool)}
	defer workers.group.Wait()
	for {
		epoch, err := c.session.Epoch(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("cron: %q: %w", c.name, err)
		}
		if err := newEngine(c, epoch, workers).run(ctx); err != nil {
			return fmt.Errorf("cron: %q: %w", c.name, err)
		}
	}
}

// workers are the runs of this process, over all epochs. They belong to the
// goroutine of Run.
type workers struct {
	group   sync.WaitGroup
	running map[*Run]bool
	current *engine
	stuck   map[string]int // how many of a job are left from earlier epochs
}

// adopt makes an engine the current one.
func (w *workers) adopt(e *engine) {
	w.current = e
	w.stuck = make(map[string]int)
	for r := range w.running {
		w.stuck[r.job.Name]++
	}
}

// returned takes note of a run that has returned, and tells whether it was of
// the current epoch.
func (w *workers) returned(r *Run) bool {
	delete(w.running, r)
	if r.epoch == w.current.epoch {
		return true
	}
	w.stuck[r.job.Name]--
	w.current.consider(w.current.entry(r.job.Name))
	return false
}
