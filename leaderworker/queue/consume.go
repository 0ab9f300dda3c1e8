package queue

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/internal/mailbox"
	"github.com/gotenure/tenure/internal/prefixwatch"
	"github.com/gotenure/tenure/session"
)

// A Handler works on a task. Its context ends when the claim is lost, when the
// task is cancelled, and when the consumer stops.
type Handler func(ctx context.Context, t *Task) error

// Consume claims tasks and calls the handler for each until ctx ends, and
// returns when all its handlers have returned and their tasks are settled. It
// goes on over the loss of the session's lease: the contexts of the tasks
// claimed under it end with the cause ErrLost, and other consumers take them
// over.
//
// A task whose handler returns nil is done. One whose handler returns an error
// is tried again after the queue's backoff, until it has been tried often enough
// and goes to the dead letters; at once, if the error is Permanent. One whose
// handler returns an error because the consumer stops is given back and does not
// count as tried. One whose process dies is tried again as soon as its lease has
// run out.
//
// Consume returns nil after ctx has ended, session.ErrClosed if the session was
// closed, and another error if etcd refuses access.
//
// It costs a watch on the consumers and one on each shard that this consumer
// looks after, and two transactions for each task, which share commits.
func (q *Queue) Consume(ctx context.Context, handler Handler, opts ...ConsumeOption) error {
	c := consumption{workers: 1}
	for _, opt := range opts {
		if err := opt(&c); err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	if handler == nil {
		return fmt.Errorf("%w: the handler is nil", ErrConfig)
	}
	crew := &crew{handler: handler, mail: mailbox.New(), number: consumerNumber.Add(1)}
	defer crew.group.Wait()
	for {
		epoch, err := q.session.Epoch(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return q.explain("consume", err)
		}
		q.epoch.Store(epoch)
		if err := newConsumer(q, c, epoch, crew).run(ctx); err != nil {
			return q.explain("consume", err)
		}
	}
}

// consumerNumber tells the consumers of one process apart.
var consumerNumber atomic.Int64

// A crew is the handlers at work, over all epochs. All but the group belongs to
// the goroutine of Consume.
type crew struct {
	handler Handler
	mail    *mailbox.Box // for the goroutine of Consume
	number  int64
	group   sync.WaitGroup
	current *consumer
	working int // handlers that have not returned, those of earlier epochs included
	claims  int // counts the attempts
}

// settleTime bounds how long a consumer that stops waits for etcd, after its
// handlers have returned.
const settleTime = 3 * time.Second

// A consumer works within one epoch. All of it belongs to the goroutine of
// Consume; others send it mail.
type consumer struct {
	*Queue
	consumption
	epoch   *session.Epoch
	crew    *crew
	commits *groupcommit.Committer
	helpers sync.WaitGroup
	ctx     context.Context
	runCtx  context.Context // whose values the handlers get

	backlog  backlog
	watches  [shards]context.CancelFunc
	members  members
	slots    slots
	inflight map[*item]*attempt // claims under way
	hand     []*Task            // claimed and not begun
	active   map[*Task]bool     // being worked on
	settling map[*Task]bool     // returned, and not settled
	tidied   time.Time
	holdOff  time.Time // no claims before: etcd has refused one
	stopping bool
	failed   error
}

func newConsumer(q *Queue, c consumption, epoch *session.Epoch, crew *crew) *consumer {
	own := strconv.FormatInt(int64(epoch.Lease()), 16) + "-" + strconv.FormatInt(crew.number, 10)
	n := &consumer{
		Queue: q, consumption: c, epoch: epoch, crew: crew,
		commits:  groupcommit.New(q.session.Client(), nil),
		backlog:  newBacklog(),
		members:  members{own: own, seen: make(map[string]bool)},
		slots:    newSlots(q.maxActive),
		inflight: make(map[*item]*attempt),
		active:   make(map[*Task]bool),
		settling: make(map[*Task]bool),
		tidied:   time.Now(),
	}
	crew.current = n
	return n
}

// run consumes until ctx or the epoch ends, and returns when everything that
// it has claimed is settled, given back, or lost with the epoch.
func (c *consumer) run(ctx context.Context) error {
	life, end := context.WithCancel(c.epoch.Context())
	c.ctx, c.runCtx = life, ctx
	defer c.commits.Wait()
	defer c.helpers.Wait()
	defer end()
	c.follow(life, prefixwatch.Config{Key: c.consumers(), Prefix: true, KeysOnly: true}, c.seeMembers)
	if c.maxActive > 0 {
		c.follow(life, prefixwatch.Config{Key: c.slot(0)[:len(c.slot(0))-1], Prefix: true, KeysOnly: true}, c.seeSlots)
	}
	c.join(true)

	timer := time.NewTimer(0)
	defer timer.Stop()
	stop := ctx.Done()
	var cancelWork, giveUp <-chan time.Time
	for !(c.stopping && c.idle()) {
		timer.Reset(c.next())
		select {
		case <-c.crew.mail.Bell():
			for _, f := range c.crew.mail.Collect() {
				f()
			}
		case <-timer.C:
		case <-stop:
			stop = nil
			c.stop()
			cancelWork = time.After(c.drain)
		case <-cancelWork:
			cancelWork = nil
			c.interrupt()
		case <-giveUp:
			c.abandon()
			return c.failed
		case <-life.Done():
			c.dropHand()
			return nil // the tasks' contexts end by themselves
		}
		if c.failed != nil && stop != nil {
			stop = nil
			c.stop()
			c.interrupt()
		}
		if c.stopping && giveUp == nil && len(c.active) == 0 {
			giveUp = time.After(settleTime)
		}
		c.work()
	}
	return c.failed
}

// follow has see called, by the goroutine of Consume, with what happens to some
// keys, until ctx ends.
func (c *consumer) follow(ctx context.Context, cfg prefixwatch.Config, see func(prefixwatch.Update)) {
	cfg.Probe = c.epoch.TTL()
	c.helpers.Go(func() {
		watch := prefixwatch.Open(ctx, c.session.Client(), cfg)
		defer watch.Close()
		for {
			u, err := watch.Next(ctx)
			if ctx.Err() != nil {
				return
			}
			c.post(func() {
				switch {
				case ctx.Err() != nil: // it is about a shard that is no longer ours
				case err != nil:
					c.failed = err
				default:
					see(u)
				}
			})
			if err != nil {
				return
			}
		}
	})
}

// post sends mail that counts only while this consumer is the current one.
func (c *consumer) post(f func()) {
	c.crew.mail.Post(func() {
		if c == c.crew.current {
			f()
		}
	})
}

// idle tells whether nothing of this consumer is left to be written.
func (c *consumer) idle() bool {
	return len(c.inflight)+len(c.hand)+len(c.active)+len(c.settling) == 0 && !c.members.busy && !c.members.joined
}

// work does whatever there is to do now.
func (c *consumer) work() {
	now := time.Now()
	c.backlog.ripen(now)
	if !c.stopping {
		for c.room() > 0 && c.slots.any() && now.After(c.holdOff) {
			item := c.backlog.take(now)
			if item == nil {
				break
			}
			c.claimTask(item, now)
		}
		for len(c.hand) > 0 && c.crew.working < c.workers {
			t := c.hand[0]
			c.hand = c.hand[1:]
			c.begin(t)
		}
		c.tidy(now)
	}
	c.announce(now)
}

// room is how many more tasks may be claimed.
func (c *consumer) room() int {
	return c.workers + c.prefetch - c.crew.working - len(c.hand) - len(c.inflight)
}

// maxNap bounds how long the timer is trusted: it stands still while the machine
// is suspended, and the clock that tasks are delayed by may be set.
const maxNap = time.Second

// next is when to look again if nothing happens before.
func (c *consumer) next() time.Duration {
	d := maxNap
	if c.stopping {
		return d
	}
	if due := c.backlog.next(); !due.IsZero() && c.room() > 0 {
		d = min(d, time.Until(due))
	}
	if at := c.members.alarm; !at.IsZero() {
		d = min(d, time.Until(at))
	}
	return max(d, 0)
}

// stop ends the claiming and gives back what was not begun.
func (c *consumer) stop() {
	c.stopping = true
	for i := range c.watches {
		c.unwatch(i)
	}
	hand := c.hand
	c.hand = nil
	for _, t := range hand {
		c.settle(t, verdict{giveBack: true})
	}
}

// interrupt tells the handlers to stop.
func (c *consumer) interrupt() {
	for t := range c.active {
		t.cancel(ErrStopped)
	}
}

// dropHand forgets tasks that were claimed under a lease that is gone.
func (c *consumer) dropHand() {
	for _, t := range c.hand {
		t.end()
	}
	c.hand = nil
}

// abandon leaves what could not be written to the background: claims are given
// back there, or go with the lease.
func (c *consumer) abandon() {
	giveBack := func(id string, a *attempt) {
		c.epoch.Background(func(ctx context.Context) {
			commits := groupcommit.New(c.session.Client(), nil)
			defer commits.Wait()
			err := groupcommit.Repeat(ctx, func() error {
				if a != nil {
					if _, err := c.epoch.Settle(ctx, a.fence, c.claim(id)); err != nil {
						return err
					}
				}
				_, err := commits.Do(ctx, groupcommit.Txn{
					If:   []clientv3.Cmp{clientv3.Compare(clientv3.LeaseValue(c.claim(id)), "=", c.epoch.Lease())},
					Then: []clientv3.Op{clientv3.OpDelete(c.claim(id))},
				})
				return err
			})
			if err != nil {
				c.log.Debug("a claim is left to its lease", "queue", c.name, "task", id, "err", err)
			}
		})
	}
	for item, a := range c.inflight {
		giveBack(item.place.id, a)
	}
	for t := range c.settling {
		t.end()
		giveBack(t.id, nil)
	}
	if c.members.joined || c.members.busy {
		key := c.consumers() + c.members.own
		c.epoch.Background(func(ctx context.Context) {
			_ = groupcommit.Repeat(ctx, func() error {
				ctx, cancel := context.WithTimeout(ctx, prefixwatch.ReadTimeout)
				defer cancel()
				_, err := c.session.Client().Delete(ctx, key)
				return err
			})
		})
	}
	c.log.Warn("etcd did not answer in time: claims are given back later", "queue", c.name)
}
