package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"

	"github.com/gotenure/tenure/leaderworker/cron"
	"github.com/gotenure/tenure/leaderworker/queue"
	"github.com/gotenure/tenure/session"
)

func jobRows() []row {
	return []row{
		{name: "cron/ticks/3-nodes", unit: "op/s", tenure: ticks(3, 1000)},
		{
			name: "queue/8-consumers", unit: "op/s",
			tenure: through(tenureQueue), peer: through(etcdQueue), peerName: "etcd recipes",
		},
	}
}

// ticks is how many runs so many nodes begin and end a second, of so many jobs
// that are due ten times a second, which is more than they can do.
func ticks(nodes, jobs int) contestant {
	return func(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
		var runs atomic.Int64
		often, err := cron.Every(cron.MinInterval)
		if err != nil {
			return nil, err
		}
		var set []cron.Job
		for i := range jobs {
			set = append(set, cron.Job{Name: fmt.Sprint("job ", i), Schedule: often, Overlap: cron.Allow, History: 1,
				Run: func(context.Context, *cron.Run) error { runs.Add(1); return nil }})
		}
		for range nodes {
			client, err := env.client()
			if err != nil {
				return nil, err
			}
			s, err := session.New(ctx, client, session.WithTTL(30*time.Second))
			if err != nil {
				return nil, err
			}
			c, err := cron.New(s, "bench")
			if err != nil {
				return nil, err
			}
			if err := c.Set(set...); err != nil {
				return nil, err
			}
			env.inBackground(func(ctx context.Context) { _ = c.Run(ctx) })
		}
		return func(d time.Duration) (float64, error) {
			before, start := runs.Load(), time.Now()
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
			return float64(runs.Load()-before) / time.Since(start).Seconds(), nil
		}, nil
	}
}

// A line is a work queue with eight consumers, each with a client of its own,
// that tell of every task that they have done.
type line func(ctx context.Context, env *env, consumers []*clientv3.Client, done func()) (enqueue func(ctx context.Context, producer *clientv3.Client) (func() error, error), err error)

// through is how many tasks go through a line a second, with eight producers
// that keep no more than a few hundred of them in it.
func through(make line) contestant {
	return func(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
		const crowd, most = 8, 400
		var consumers []*clientv3.Client
		for range crowd {
			client, err := env.client()
			if err != nil {
				return nil, err
			}
			consumers = append(consumers, client)
		}
		var done atomic.Int64
		room := newRoom(most)
		connect, err := make(ctx, env, consumers, func() { done.Add(1); room.leave() })
		if err != nil {
			return nil, err
		}
		var enqueues []func() error
		for range crowd {
			client, err := env.client()
			if err != nil {
				return nil, err
			}
			enqueue, err := connect(ctx, client)
			if err != nil {
				return nil, err
			}
			enqueues = append(enqueues, enqueue)
		}
		return func(d time.Duration) (float64, error) {
			ctx, cancel := context.WithTimeout(ctx, d)
			defer cancel()
			var producers sync.WaitGroup
			var failed atomic.Pointer[error]
			before, start := done.Load(), time.Now()
			for _, enqueue := range enqueues {
				for range 4 { // several requests of a producer at a time
					producers.Go(func() {
						for ctx.Err() == nil && room.enter(ctx) {
							if err := enqueue(); err != nil {
								failed.Store(&err)
								return
							}
						}
					})
				}
			}
			<-ctx.Done()
			rate := float64(done.Load()-before) / time.Since(start).Seconds()
			producers.Wait()
			if err := failed.Load(); err != nil {
				return 0, *err
			}
			return rate, room.drained()
		}, nil
	}
}

// A room bounds how many tasks are on their way.
type room chan struct{}

func newRoom(n int) room { return make(room, n) }

func (r room) enter(ctx context.Context) bool {
	select {
	case r <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r room) leave() { <-r }

// drained waits until nothing is on its way, so that the next contestant is
// alone.
func (r room) drained() error {
	for range 1000 {
		if len(r) == 0 {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("the queue does not drain")
}

func tenureQueue(ctx context.Context, env *env, consumers []*clientv3.Client, done func()) (func(context.Context, *clientv3.Client) (func() error, error), error) {
	open := func(client *clientv3.Client) (*queue.Queue, error) {
		s, err := session.New(ctx, client, session.WithTTL(30*time.Second))
		if err != nil {
			return nil, err
		}
		return queue.New(s, "bench")
	}
	for _, client := range consumers {
		q, err := open(client)
		if err != nil {
			return nil, err
		}
		env.inBackground(func(ctx context.Context) {
			_ = q.Consume(ctx, func(context.Context, *queue.Task) error { done(); return nil }, queue.Workers(8), queue.Prefetch(32))
		})
	}
	return func(ctx context.Context, client *clientv3.Client) (func() error, error) {
		q, err := open(client)
		return func() error {
			_, err := q.Enqueue(context.WithoutCancel(ctx), []byte("task"))
			return err
		}, err
	}, nil
}

// etcdQueue deletes a task before it is worked on, so it has no claim and no
// acknowledgement to pay for.
func etcdQueue(_ context.Context, env *env, consumers []*clientv3.Client, done func()) (func(context.Context, *clientv3.Client) (func() error, error), error) {
	for _, client := range consumers {
		q := recipe.NewQueue(client, "/etcd/queue/")
		env.inBackground(func(ctx context.Context) {
			defer func() { _ = recover() }() // it panics when its watch fails, as it does when the client is closed
			for ctx.Err() == nil {
				if _, err := q.Dequeue(); err == nil {
					done()
				}
			}
		})
	}
	return func(_ context.Context, client *clientv3.Client) (func() error, error) {
		q := recipe.NewQueue(client, "/etcd/queue/")
		return func() error { return q.Enqueue("task") }, nil
	}, nil
}
