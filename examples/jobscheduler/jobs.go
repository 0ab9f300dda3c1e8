package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/leaderworker/cron"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// firstJobs is the document that all nodes begin with, and secondJobs what it is replaced by while they run.
const (
	firstJobs = `task_takes: 300ms
jobs:
  report: {every: 1s, takes: 200ms}
  orders: {every: 2s, takes: 200ms, tasks: 4}
`
	secondJobs = `task_takes: 300ms
jobs:
  report:  {every: 1s, takes: 200ms}
  orders:  {every: 1s, takes: 200ms, tasks: 4}   # twice as often
  cleanup: {every: 2s, takes: 400ms}             # new
`
)

// A document says what there is to do. It is in etcd, in YAML; every node follows it.
type document struct {
	TaskTakes time.Duration
	Jobs      map[string]jobSpec
}

// A jobSpec is a job: due every so often, it takes a while, and puts some tasks into the queue.
type jobSpec struct {
	Every time.Duration
	Takes time.Duration
	Tasks int
}

// Validate is asked before a document is used or written: what it does not accept never comes into force.
func (d *document) Validate() error {
	var errs []error
	if d.TaskTakes < 0 {
		errs = append(errs, errors.New("task_takes: must not be negative"))
	}
	for name, spec := range d.Jobs {
		if _, err := cron.Every(spec.Every); err != nil {
			errs = append(errs, fmt.Errorf("jobs.%s.every: %w", name, err))
		}
		if spec.Takes < 0 || spec.Tasks < 0 || spec.Tasks > 100 {
			errs = append(errs, fmt.Errorf("jobs.%s: takes must not be negative, and tasks be 0 to 100", name))
		}
	}
	return errors.Join(errs...)
}

// cronJobs makes the document's jobs, all of which do the same kind of work.
func (d *document) cronJobs(work func(ctx context.Context, r *cron.Run, spec jobSpec) error) ([]cron.Job, error) {
	var jobs []cron.Job
	for _, name := range slices.Sorted(maps.Keys(d.Jobs)) {
		spec := d.Jobs[name]
		every, err := cron.Every(spec.Every)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, cron.Job{
			Name: name, Schedule: every,
			// A tick is rather late than left out: it waits for a run that goes on, also for one whose node is cut off.
			Overlap: cron.Queue, Missed: cron.All,
			History: cron.MaxHistory,
			Run:     func(ctx context.Context, r *cron.Run) error { return work(ctx, r, spec) },
		})
	}
	return jobs, nil
}

// followJobs follows the document.
func followJobs(ctx context.Context, client *clientv3.Client, namespace string, opts ...config.Option) (*config.Value[document], error) {
	opts = append(opts, config.WithCodec(config.YAML), config.WithNamespace(namespace), config.Strict())
	return config.Watch[document](ctx, client, "jobs", opts...)
}

// putJobs puts a document into etcd, if there is none or it is to be replaced, and returns what is there then.
func putJobs(ctx context.Context, etcd *store, text string, replace bool) (_ config.Snapshot[document], err error) {
	jobs, err := followJobs(ctx, etcd.client, etcd.namespace)
	if err != nil {
		return config.Snapshot[document]{}, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		err = errors.Join(err, jobs.Close(ctx))
	}()
	if !replace && len(jobs.Get().Jobs) > 0 {
		return jobs.Snapshot(), nil
	}
	revision, err := jobs.PutDocument(ctx, []byte(text))
	if err != nil {
		return config.Snapshot[document]{}, err
	}
	return jobs.Wait(ctx, revision)
}
