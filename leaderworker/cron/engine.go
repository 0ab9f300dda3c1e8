package cron

import (
	"container/heap"
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/prefixwatch"
	"github.com/gotenure/tenure/session"
)

const (
	// spread is over how long the processes spread their attempts to claim the
	// same thing, in an order that differs from one to the next. Most of them
	// then see that it was claimed before they have tried.
	spread = 20 * time.Millisecond

	// settleTime bounds how long a scheduler that stops waits for etcd, after
	// its runs have returned.
	settleTime = 3 * time.Second
)

// An engine schedules within one epoch. All of it belongs to the goroutine of
// Run; others send it mail.
type engine struct {
	*Scheduler
	epoch   *session.Epoch
	workers *workers
	commits *groupcommit.Committer
	helpers sync.WaitGroup // watch, transactions under way
	ctx     context.Context
	runCtx  context.Context // whose values the jobs get

	entries  map[string]*entry
	defs     map[string]*Job
	version  int // of defs
	alarms   alarms
	synced   bool // the first snapshot has come
	claims   int  // counts the attempts of this epoch
	stopping bool
	failed   error
}

// An entry is what is known of one job.
type entry struct {
	name  string
	job   *Job // nil if this process does not run it
	state state
	rev   int64            // of the state; 0 if there is none
	live  map[string]int64 // the claims that exist, by run, with their create revisions

	busy      bool     // a transaction is under way
	claiming  *attempt // what it may have claimed
	failures  int
	finishing []*ending // runs that have returned and are to be recorded
	spreadFor int64     // the revision for which this process has waited its time

	alarm time.Time // when to look again; zero if not in the heap
	index int
}

// An ending is a run that has returned.
type ending struct {
	run *Run
	finish
}

func newEngine(c *Scheduler, epoch *session.Epoch, w *workers) *engine {
	e := &engine{
		Scheduler: c, epoch: epoch, workers: w,
		commits: groupcommit.New(c.session.Client(), nil),
		entries: make(map[string]*entry),
	}
	w.adopt(e)
	return e
}

// run schedules until ctx or the epoch ends, and returns when everything that
// it has begun is recorded, given back, or lost with the epoch. A watch that
// etcd refuses ends it with an error.
func (e *engine) run(ctx context.Context) error {
	life, end := context.WithCancel(e.epoch.Context())
	e.ctx, e.runCtx = life, ctx
	defer e.commits.Wait()
	defer e.helpers.Wait()
	defer end()
	updates := make(chan prefixwatch.Update)
	e.helpers.Go(func() { e.watch(updates) })

	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	stop := ctx.Done()
	var cancelRuns, giveUp <-chan time.Time
	for !(e.stopping && e.idle()) {
		timer.Reset(e.untilAlarm())
		select {
		case u := <-updates:
			e.apply(u)
		case <-e.mail.Bell():
			e.readMail()
		case <-timer.C:
			e.ring(time.Now())
		case <-stop:
			stop = nil
			e.stopping = true
			cancelRuns = time.After(e.drain)
		case <-cancelRuns:
			e.interrupt()
			cancelRuns = nil
		case <-giveUp:
			e.abandon()
			return e.failed
		case <-life.Done():
			return nil // the runs' contexts end by themselves
		}
		if e.failed != nil && stop != nil {
			stop = nil
			e.stopping = true
			e.interrupt()
		}
		if e.stopping && giveUp == nil && len(e.workers.running) == 0 {
			giveUp = time.After(settleTime)
		}
	}
	return e.failed
}

// idle tells whether nothing of this process is left to be written.
func (e *engine) idle() bool {
	if len(e.workers.running) > 0 {
		return false
	}
	for _, en := range e.entries {
		if en.busy || len(en.finishing) > 0 {
			return false
		}
	}
	return true
}

// watch follows the states and claims.
func (e *engine) watch(updates chan<- prefixwatch.Update) {
	watch := prefixwatch.Open(e.ctx, e.session.Client(), prefixwatch.Config{Key: e.live, Prefix: true, Probe: e.epoch.TTL()})
	defer watch.Close()
	for {
		u, err := watch.Next(e.ctx)
		if err != nil {
			if e.ctx.Err() == nil {
				e.mail.Post(func() { e.failed = err })
			}
			return
		}
		select {
		case updates <- u:
		case <-e.ctx.Done():
			return
		}
	}
}

// readMail does what others have asked for, and takes new jobs over.
func (e *engine) readMail() {
	for _, f := range e.mail.Collect() {
		f()
	}
	e.define()
}

// define takes over the jobs that were set.
func (e *engine) define() {
	defs, version := e.defined()
	if !e.synced || version == e.version {
		return
	}
	for name := range e.defs {
		if defs[name] == nil {
			e.entry(name).job = nil
		}
	}
	e.defs, e.version = defs, version
	for name, job := range defs {
		en := e.entry(name)
		en.job = job
		e.consider(en)
	}
}

func (e *engine) entry(name string) *entry {
	en := e.entries[name]
	if en == nil {
		en = &entry{name: name, live: make(map[string]int64), index: -1}
		e.entries[name] = en
	}
	return en
}

// apply takes an update of the watch in. What is known from answers to own
// transactions may be newer.
func (e *engine) apply(u prefixwatch.Update) {
	touched := make(map[*entry]bool)
	for _, ev := range u.Events {
		name, id, ok := e.parse(string(ev.Kv.Key))
		if !ok {
			continue
		}
		en := e.entry(name)
		touched[en] = true
		deleted := ev.Type == clientv3.EventTypeDelete
		switch {
		case id == "" && ev.Kv.ModRevision <= en.rev:
		case id == "" && deleted:
			en.state, en.rev = state{}, 0
		case id == "":
			e.learn(en, ev.Kv.Value, ev.Kv.ModRevision)
		case deleted && en.live[id] < ev.Kv.ModRevision:
			delete(en.live, id)
		case !deleted:
			en.live[id] = max(en.live[id], ev.Kv.CreateRevision)
		}
	}
	if !e.synced {
		e.synced = true
		e.define()
		return
	}
	for en := range touched {
		e.consider(en)
	}
}

// learn takes a state in that is newer than the one known.
func (e *engine) learn(en *entry, value []byte, rev int64) {
	s, err := decodeState(value)
	if err != nil {
		e.log.Error("the state of a job cannot be read", "scheduler", e.name, "job", en.name, "err", err)
		return
	}
	en.state, en.rev = s, rev
}

// parse returns the job, and for a claim the run, of a key.
func (e *engine) parse(key string) (job, id string, ok bool) {
	rest, ok := strings.CutPrefix(key, e.live)
	if !ok {
		return "", "", false
	}
	segment, id, _ := strings.Cut(rest, "/")
	job, err := keys.Unescape(segment)
	return job, id, err == nil
}

// consider does the next thing that is to be done for a job.
func (e *engine) consider(en *entry) {
	if en.busy {
		return
	}
	if len(en.finishing) > 0 {
		e.finish(en)
		return
	}
	if en.job == nil || e.stopping || e.workers.stuck[en.name] > 0 {
		return
	}
	now := time.Now()
	if en.rev == 0 {
		if e.waits(en, now) {
			return
		}
		e.create(en, now)
		return
	}
	d := en.job.decide(now, en.state, func(id string) bool { return en.live[id] > 0 })
	switch {
	case !d.changed:
		e.setAlarm(en, d.wake)
	case e.waits(en, now):
	default:
		e.decided(en, &d, now)
	}
}

// waits tells whether it is not yet this process's time to write, and sets the
// alarm for it.
func (e *engine) waits(en *entry, now time.Time) bool {
	if en.spreadFor == en.rev+1 {
		return false
	}
	en.spreadFor = en.rev + 1
	own := hash(strconv.FormatInt(int64(e.epoch.Lease()), 16), en.name, strconv.FormatInt(en.rev, 10))
	e.setAlarm(en, now.Add(time.Duration(own%uint64(spread))))
	return true
}

func (e *engine) setAlarm(en *entry, at time.Time) {
	en.alarm = at
	switch {
	case at.IsZero() && en.index >= 0:
		heap.Remove(&e.alarms, en.index)
	case at.IsZero():
	case en.index >= 0:
		heap.Fix(&e.alarms, en.index)
	default:
		heap.Push(&e.alarms, en)
	}
}

// maxNap bounds how long the timer is trusted: it stands still while the
// machine is suspended, and the clock that ticks are counted by may be set.
const maxNap = time.Second

func (e *engine) untilAlarm() time.Duration {
	if len(e.alarms) == 0 {
		return maxNap
	}
	return min(max(0, time.Until(e.alarms[0].alarm)), maxNap)
}

// ring considers the jobs whose time has come.
func (e *engine) ring(now time.Time) {
	for len(e.alarms) > 0 && !e.alarms[0].alarm.After(now) {
		en := e.alarms[0]
		e.setAlarm(en, time.Time{})
		e.consider(en)
	}
}

// alarms is a heap of entries by alarm.
type alarms []*entry

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].alarm.Before(a[j].alarm) }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}
func (a *alarms) Push(x any) {
	en := x.(*entry)
	en.index = len(*a)
	*a = append(*a, en)
}
func (a *alarms) Pop() any {
	last := len(*a) - 1
	en := (*a)[last]
	en.index = -1
	*a = (*a)[:last]
	return en
}
