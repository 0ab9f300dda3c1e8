package cron

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/prefixwatch"
)

// Pause stops the job's ticks from being claimed, in all processes, until
// Resume. Runs that go on are not touched, and Trigger still works. Pausing a
// paused job changes nothing. It costs a read and a transaction.
func (c *Scheduler) Pause(ctx context.Context, job, reason string) error {
	return c.change(ctx, job, func(s *state) (bool, error) {
		if s.Paused != nil {
			return false, nil
		}
		s.Paused = &Pause{Since: time.Now().UTC().Truncate(time.Millisecond), By: c.session.Name(), Reason: cut(reason)}
		return true, nil
	})
}

// Resume ends a pause. The ticks that were due meanwhile are not missed: they
// were not wanted.
func (c *Scheduler) Resume(ctx context.Context, job string) error {
	return c.change(ctx, job, func(s *state) (bool, error) {
		if s.Paused == nil {
			return false, nil
		}
		s.Paused = nil
		s.Cursor = latest(s.Cursor, time.Now().UTC().Truncate(time.Millisecond))
		return true, nil
	})
}

// Trigger has the job run once, now, or when the runs before it have ended if
// the job's Overlap is not Allow. It returns the run's id. A process that runs
// the job claims it like a tick; if there is none at present it waits for one.
// It returns ErrBusy if MaxWaiting runs wait already.
func (c *Scheduler) Trigger(ctx context.Context, job string) (id string, err error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	id = tickID(now) + "-" + strings.ToLower(rand.Text()[:8])
	return id, c.change(ctx, job, func(s *state) (bool, error) {
		done := slices.Contains(s.Records, id) || slices.ContainsFunc(s.Waiting, func(w waiting) bool { return w.ID == id })
		switch {
		case done: // by an attempt whose answer was lost
			return false, nil
		case len(s.Waiting) >= MaxWaiting:
			return false, fmt.Errorf("%w: job %q: %d", ErrBusy, job, len(s.Waiting))
		}
		s.Waiting = append(s.Waiting, waiting{ID: id, Tick: now, Manual: true})
		return true, nil
	})
}

// Forget deletes everything that is known of a job: its state, its records and
// its claims, so that the contexts of runs that go on end. A job that some process
// still runs begins anew at once, as one that was never heard of.
func (c *Scheduler) Forget(ctx context.Context, job string) error {
	if err := c.checkName(job); err != nil {
		return err
	}
	return c.explain(job, groupcommit.Repeat(ctx, func() error {
		attempt, cancel := context.WithTimeout(ctx, prefixwatch.ReadTimeout)
		defer cancel()
		_, err := c.session.Client().Txn(attempt).Then(
			clientv3.OpDelete(c.stateKey(job)),
			clientv3.OpDelete(c.stateKey(job)+"/", clientv3.WithPrefix()),
			clientv3.OpDelete(c.recordPrefix(job), clientv3.WithPrefix()),
		).Commit()
		return err
	}))
}

// A JobStatus is what is known of a job in etcd.
type JobStatus struct {
	Name    string
	Decided time.Time // the last tick that was claimed, put into the queue or dropped
	Next    time.Time // the next tick; zero if there is none, or if this process does not run the job
	Paused  *Pause    // nil if it is not
	Active  []Active  // runs that go on
	Waiting []string  // the ids of runs that wait
}

// An Active is a run that goes on.
type Active struct {
	ID      string
	Tick    time.Time
	Manual  bool
	Session string
	Since   time.Time
	Attempt int
	// Alive is false between the death of the process that ran it and the next
	// one's claim.
	Alive bool
	Token int64
}

// Status returns all jobs that were ever run under the scheduler's name and not
// forgotten, by name. It costs one linearizable range.
func (c *Scheduler) Status(ctx context.Context) ([]JobStatus, error) {
	resp, err := c.session.Client().Get(ctx, c.live, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("cron: %q: status: %w", c.name, err)
	}
	defs, _ := c.defined()
	tokens := make(map[string]int64)
	for _, kv := range resp.Kvs {
		tokens[string(kv.Key)] = kv.CreateRevision
	}
	var jobs []JobStatus
	for _, kv := range resp.Kvs {
		name, err := keys.Unescape(strings.TrimPrefix(string(kv.Key), c.live))
		s, decodeErr := decodeState(kv.Value)
		if err != nil || decodeErr != nil || strings.Contains(strings.TrimPrefix(string(kv.Key), c.live), "/") {
			continue // a claim
		}
		status := JobStatus{Name: name, Decided: s.Cursor, Paused: s.Paused}
		if job := defs[name]; job != nil {
			status.Next = job.Schedule.Next(s.Cursor)
		}
		for _, a := range s.Active {
			token := tokens[c.claimKey(name, a.ID)]
			status.Active = append(status.Active, Active{
				ID: a.ID, Tick: a.Tick, Manual: a.Manual, Session: a.Session, Since: a.Since, Attempt: a.Attempt,
				Alive: token > 0, Token: token,
			})
		}
		for _, w := range s.Waiting {
			status.Waiting = append(status.Waiting, w.ID)
		}
		jobs = append(jobs, status)
	}
	return jobs, nil
}

// History returns the records of a job that are kept, the latest first. It
// costs one linearizable range.
func (c *Scheduler) History(ctx context.Context, job string) ([]Record, error) {
	if err := c.checkName(job); err != nil {
		return nil, err
	}
	resp, err := c.session.Client().Get(ctx, c.recordPrefix(job), clientv3.WithPrefix())
	if err != nil {
		return nil, c.explain(job, err)
	}
	records := make([]Record, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		r := Record{Job: job}
		if err := json.Unmarshal(kv.Value, &r); err != nil {
			return nil, c.explain(job, fmt.Errorf("the record %q: %w", kv.Key, err))
		}
		records = append(records, r)
	}
	slices.SortStableFunc(records, func(a, b Record) int {
		return cmp.Or(b.Tick.Compare(a.Tick), cmp.Compare(b.ID, a.ID))
	})
	return records, nil
}

// change reads a job's state, has f change it, and writes it if it has not
// changed otherwise meanwhile; else it begins again. f may be called again after
// a write whose answer was lost, and returns false if there is nothing to do.
func (c *Scheduler) change(ctx context.Context, job string, f func(*state) (bool, error)) error {
	if err := c.checkName(job); err != nil {
		return err
	}
	key := c.stateKey(job)
	var given error
	err := groupcommit.Repeat(ctx, func() error {
		attempt, cancel := context.WithTimeout(ctx, prefixwatch.ReadTimeout)
		defer cancel()
		for {
			resp, err := c.session.Client().Get(attempt, key)
			if err != nil {
				return err
			}
			if len(resp.Kvs) == 0 {
				given = fmt.Errorf("%w: %q", ErrUnknownJob, job)
				return nil
			}
			s, err := decodeState(resp.Kvs[0].Value)
			if err != nil {
				given = err
				return nil
			}
			changed, err := f(&s)
			if err != nil || !changed {
				given = err
				return nil
			}
			txn, err := c.session.Client().Txn(attempt).
				If(unchanged(key, resp.Kvs[0].ModRevision)).
				Then(clientv3.OpPut(key, s.encode())).Commit()
			if err != nil || txn.Succeeded {
				return err
			}
		}
	})
	if given != nil {
		return given
	}
	return c.explain(job, err)
}

func (c *Scheduler) checkName(job string) error {
	if _, err := keys.Escape(job); err != nil || len(job) > maxJobName {
		return fmt.Errorf("%w: a job's name has 1 to %d bytes, this one has %d", ErrConfig, maxJobName, len(job))
	}
	return nil
}

func (c *Scheduler) explain(job string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cron: %q: job %q: %w", c.name, job, err)
}
