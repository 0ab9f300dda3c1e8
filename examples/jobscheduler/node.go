package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	tenureconfig "github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/leaderworker"
	"github.com/gotenure/tenure/leaderworker/cron"
	"github.com/gotenure/tenure/leaderworker/queue"
	"github.com/gotenure/tenure/session"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

const (
	poolName   = "nodes"
	cronName   = "jobs"
	queueName  = "tasks"
	shardCount = 8
	taskTries  = 3
)

// A node stands for a machine: it has a network link, an etcd client and a session of its own. On the session hang its
// place in the pool, its scheduler and its part in the queue.
type node struct {
	name      string
	namespace string
	link      *link
	client    *clientv3.Client
	session   *session.Session
	jobs      *tenureconfig.Value[document]
	cron      *cron.Scheduler
	tasks     *queue.Queue

	screen  *screen
	witness *witness
	applied atomic.Int64  // revision of the document that is in force here
	renewed chan struct{} // the session has a new lease after a loss

	mu   sync.Mutex
	now  []string // what it works on
	late []write  // writes that were not answered before their shard was lost
}

// newNode connects a node with etcd. run, or close, disconnects it.
func newNode(ctx context.Context, name string, etcd *store, ttl time.Duration, scr *screen, w *witness) (_ *node, err error) {
	n := &node{name: name, namespace: etcd.namespace, link: newLink(), screen: scr, witness: w, renewed: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", name, err), n.close(ctx))
		}
	}()
	cfg := etcd.config
	cfg.DialOptions = append(slices.Clone(cfg.DialOptions), grpc.WithContextDialer(n.link.dial))
	if n.client, err = clientv3.New(cfg); err != nil {
		return nil, err
	}
	n.session, err = session.New(ctx, n.client,
		session.WithName(name),
		session.WithTTL(ttl),
		session.WithNamespace(n.namespace),
		session.WithObserver(session.Observer{Granted: n.granted, Lost: n.lost}))
	if err != nil {
		return nil, err
	}
	if n.jobs, err = followJobs(ctx, n.client, n.namespace, tenureconfig.Required()); err != nil {
		return nil, err
	}
	if n.cron, err = cron.New(n.session, cronName, cron.WithDrain(closeTime)); err != nil {
		return nil, err
	}
	n.tasks, err = queue.New(n.session, queueName, queue.WithTries(taskTries),
		queue.WithBackoff(func(int) time.Duration { return 300 * time.Millisecond }))
	return n, err
}

// run takes part until ctx ends, and then closes the node. No more ticks are begun once ticking has ended, which is
// sooner: the tasks that they put into the queue can still be done.
func (n *node) run(ctx, ticking context.Context) error {
	err := n.takePart(ctx, ticking)
	if err != nil {
		err = fmt.Errorf("%s: %w", n.name, err)
	}
	return errors.Join(err, n.close(ctx))
}

func (n *node) takePart(ctx, ticking context.Context) error {
	stop := n.jobs.OnChange(func(_, now tenureconfig.Snapshot[document]) { n.apply(now) })
	defer stop() // before Close, which waits for what is under way
	n.apply(n.jobs.Snapshot())

	group, ctx := errgroup.WithContext(ctx)
	ticking, cancel := context.WithCancel(ticking)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	group.Go(func() error {
		return leaderworker.Run(ctx, leaderworker.Config{
			Session: n.session, Name: poolName, Worker: n.name,
			Shards: leaderworker.Numbered(shardCount), Work: n.own,
		})
	})
	group.Go(func() error { return n.cron.Run(ticking) })
	group.Go(func() error { return n.tasks.Consume(ctx, n.do, queue.Drain(closeTime)) })
	group.Go(func() error { n.tryLate(ctx); return nil })
	return group.Wait()
}

// apply puts a document into force. It was validated, so Set takes it.
func (n *node) apply(now tenureconfig.Snapshot[document]) {
	jobs, err := now.Value.cronJobs(n.tick)
	if err == nil {
		err = n.cron.Set(jobs...)
	}
	if err != nil {
		n.say("keeps its jobs: %v", err)
		return
	}
	if before := n.applied.Swap(now.Revision); before != 0 && before != now.Revision {
		n.say("has the new jobs: %v", n.cron.Jobs())
	}
}

// close gives the lease back. ctx may have ended, which is no reason to leave anything behind.
func (n *node) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	var errs []error
	if n.jobs != nil {
		errs = append(errs, n.jobs.Close(ctx))
	}
	if n.session != nil {
		errs = append(errs, n.session.Close(ctx))
	}
	if n.client != nil {
		errs = append(errs, n.client.Close())
	}
	return errors.Join(errs...)
}

// granted is called by the session for each new lease.
func (n *node) granted(g session.Grant) {
	if g.Epoch > 1 {
		n.say("is back, with a new lease")
		select {
		case n.renewed <- struct{}{}:
		default: // nobody has looked since the last one
		}
	}
}

// lost is called by the session when its lease is lost: everything that hung on it has been told.
func (n *node) lost(l *session.LossError) {
	why := "etcd no longer knows its lease"
	if l.Reason == session.ReasonDeadline {
		why = "no renewal of its lease was answered in time"
	}
	n.say("STOPS ITS WORK by itself: %s", why)
}

func (n *node) say(format string, args ...any) { n.screen.say(n.name, format, args...) }

// busy notes what the node works on until the returned function is called.
func (n *node) busy(what string) (end func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = append(n.now, what)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if i := slices.Index(n.now, what); i >= 0 {
			n.now = slices.Delete(n.now, i, i+1)
		}
	}
}

// doing returns what the node works on.
func (n *node) doing() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.now)
}
