package cron

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/session"
)

// An attempt is a claim that a transaction under way may make.
type attempt struct {
	claim string
	id    string
	key   string
	fence session.Fence
}

func decodeState(value []byte) (s state, err error) {
	return s, json.Unmarshal(value, &s)
}

func (c *Scheduler) stateKey(job string) string { return c.live + segment(job) }

func (c *Scheduler) claimKey(job, id string) string { return c.stateKey(job) + "/" + id }

func (c *Scheduler) recordPrefix(job string) string { return c.runs + segment(job) + "/" }

// segment is a job's name as a part of a key. Names were checked before.
func segment(job string) string {
	escaped, _ := keys.Escape(job)
	return escaped
}

// unchanged is the comparison that makes every decision count once: it holds
// while the state is the one that the decision was made from.
func unchanged(key string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", rev)
}

// create writes the first state of a job. Ticks before that are nobody's, but
// for a job that is due once.
func (e *engine) create(en *entry, now time.Time) {
	first := state{Cursor: now.UTC().Truncate(time.Millisecond)}
	if _, ok := en.job.Schedule.(once); ok {
		first.Cursor = time.Time{}
	}
	key := e.stateKey(en.name)
	txn := groupcommit.Txn{
		If:   []clientv3.Cmp{unchanged(key, 0)},
		Then: []clientv3.Op{clientv3.OpPut(key, first.encode())},
		Else: []clientv3.Op{clientv3.OpGet(key)},
	}
	e.submit(en, txn, func(r groupcommit.Result) {
		if r.Succeeded {
			en.written(first, r.Revision)
			return
		}
		e.reread(en, r, 0)
	})
}

// decided writes a decision, and a claim if it is to run something.
func (e *engine) decided(en *entry, d *decision, now time.Time) {
	key := e.stateKey(en.name)
	txn := groupcommit.Txn{
		If:   []clientv3.Cmp{unchanged(key, en.rev)},
		Else: []clientv3.Op{clientv3.OpGet(key)},
	}
	if d.start != nil {
		e.claims++
		d.start.Claim = strconv.FormatInt(int64(e.epoch.Lease()), 16) + "-" + strconv.Itoa(e.claims)
		d.start.Session = e.session.Name()
		d.start.Since = now.UTC().Truncate(time.Millisecond)
		a := &attempt{claim: d.start.Claim, id: d.start.ID, key: e.claimKey(en.name, d.start.ID), fence: e.epoch.Fence()}
		en.claiming = a
		txn.If = append(txn.If, clientv3.Compare(clientv3.CreateRevision(a.key), "=", 0), a.fence.Cmp())
		txn.Then = append(txn.Then, clientv3.OpPut(a.key, a.claim, clientv3.WithLease(e.epoch.Lease())))
		txn.Else = append(txn.Else, clientv3.OpGet(a.key), clientv3.OpGet(a.fence.Key(), clientv3.WithKeysOnly()))
		d.records = append(d.records, d.start.record(Running))
	}
	txn.Then = append(txn.Then, e.writes(en, d)...)
	e.submit(en, txn, func(r groupcommit.Result) { e.answered(en, d, r) })
}

// writes puts the new state and the records, and deletes those that are too
// many.
func (e *engine) writes(en *entry, d *decision) []clientv3.Op {
	records := e.recordPrefix(en.name)
	ops := []clientv3.Op{clientv3.OpPut(e.stateKey(en.name), d.next.encode())}
	for _, r := range d.records {
		ops = append(ops, clientv3.OpPut(records+r.ID, encode(r)))
	}
	for _, id := range d.trim {
		ops = append(ops, clientv3.OpDelete(records+id))
	}
	return ops
}

// answered takes in what has become of a decision.
func (e *engine) answered(en *entry, d *decision, r groupcommit.Result) {
	a := en.claiming
	en.claiming = nil
	if r.Succeeded {
		en.written(d.next, r.Revision)
		e.tell(en, d.records)
		if a != nil {
			en.live[a.id] = r.Revision
			e.start(en, *d.start, a, r.Revision)
		}
		return
	}
	e.reread(en, r, 0)
	if a == nil {
		return
	}
	if r.Value(2) != nil {
		e.epoch.Closed(a.fence)
	}
	claim := r.Value(1)
	switch {
	case claim == nil:
		if en.live[a.id] <= r.Revision {
			delete(en.live, a.id)
		}
	case string(claim.Value) == a.claim:
		// An attempt before this one has made it, and its answer was lost.
		en.live[a.id] = claim.CreateRevision
		e.tell(en, d.records)
		e.start(en, *d.start, a, claim.CreateRevision)
	default:
		en.live[a.id] = max(en.live[a.id], claim.CreateRevision)
	}
}

// written takes in a state that this process has written. The watch may have
// told of a later one before the answer came.
func (en *entry) written(s state, rev int64) {
	if rev > en.rev {
		en.state, en.rev = s, rev
	}
}

// reread takes in the state that the i-th operation has read.
func (e *engine) reread(en *entry, r groupcommit.Result, i int) {
	switch kv := r.Value(i); {
	case kv == nil && r.Revision > en.rev:
		en.state, en.rev = state{}, 0
	case kv != nil && kv.ModRevision > en.rev:
		e.learn(en, kv.Value, kv.ModRevision)
	}
}

// finish records the end of a run, or gives it back.
func (e *engine) finish(en *entry) {
	end := en.finishing[0]
	done := func() {
		end.run.end()
		en.finishing = en.finishing[1:]
	}
	job := end.run.job
	d, ok := job.finish(en.state, end.run.id, end.run.claim, end.finish)
	if !ok || !end.run.epoch.Valid() {
		// Somebody has taken it over, or an attempt to record it was answered
		// too late.
		e.log.Debug("a run is no longer this process's", "job", en.name, "run", end.run.id)
		done()
		e.consider(en)
		return
	}
	key := e.stateKey(en.name)
	txn := groupcommit.Txn{
		If:   append(end.run.Guard(), unchanged(key, en.rev)),
		Then: append(e.writes(en, &d), clientv3.OpDelete(end.run.key)),
		Else: []clientv3.Op{clientv3.OpGet(key), clientv3.OpGet(end.run.key, clientv3.WithKeysOnly())},
	}
	e.submit(en, txn, func(r groupcommit.Result) {
		if r.Succeeded {
			en.written(d.next, r.Revision)
			delete(en.live, end.run.id)
			done()
			e.tell(en, d.records)
			return
		}
		e.reread(en, r, 0)
		if claim := r.Value(1); claim == nil || claim.CreateRevision != end.run.token {
			if claim == nil && en.live[end.run.id] <= r.Revision {
				delete(en.live, end.run.id)
			}
			done()
			e.log.Debug("a run is no longer this process's", "job", en.name, "run", end.run.id)
		}
	})
}

// submit sends a transaction and has its answer taken in. All of them can be
// repeated: each compares the state that it changes. So one whose outcome is
// unknown is sent again until etcd answers, or the epoch is over.
func (e *engine) submit(en *entry, txn groupcommit.Txn, take func(groupcommit.Result)) {
	en.busy = true
	base := en.rev
	e.setAlarm(en, time.Time{})
	e.helpers.Go(func() {
		r, err := groupcommit.Until(e.ctx, e.commits, txn)
		if e.ctx.Err() != nil {
			return
		}
		e.mail.Post(func() {
			if e != e.workers.current {
				return
			}
			en.busy = false
			if err != nil {
				e.refused(en, err)
				return
			}
			take(r)
			if !r.Succeeded && en.rev == base {
				// Refused, though nothing has changed: a closed fence, or a key that
				// should not be there. It must not become a loop.
				e.setAlarm(en, time.Now().Add(backoff(&en.failures, minBackoff)))
				return
			}
			en.failures = 0
			e.consider(en)
		})
	})
}

// refused deals with an answer that says no: a lease that is gone, no
// permission, no room.
func (e *engine) refused(en *entry, err error) {
	e.epoch.Report(err)
	en.claiming = nil
	e.log.Warn("etcd refuses to write", "scheduler", e.name, "job", en.name, "err", err)
	e.setAlarm(en, time.Now().Add(backoff(&en.failures, time.Second)))
}

const (
	minBackoff = 20 * time.Millisecond
	maxBackoff = time.Minute
)

// backoff counts a failure and returns how long to wait after it.
func backoff(failures *int, first time.Duration) time.Duration {
	*failures++
	return min(maxBackoff, first<<min(*failures-1, 10))
}

// start runs what was claimed.
func (e *engine) start(en *entry, a active, at *attempt, token int64) {
	r := &Run{
		job: en.job, tick: a.Tick, id: a.ID, manual: a.Manual, attempt: a.Attempt,
		claim: a.Claim, key: at.key, token: token, epoch: e.epoch, started: time.Now(),
	}
	ctx, err := r.begin(e.runCtx)
	if err != nil {
		return // the lease is gone, and the claim with it
	}
	if e.stopping {
		en.finishing = append(en.finishing, &ending{run: r})
		return
	}
	e.workers.running[r] = true
	joined := e.epoch.Work()
	e.workers.group.Go(func() {
		defer joined()
		f := r.call(ctx)
		e.mail.Post(func() {
			if e.workers.returned(r) {
				en.finishing = append(en.finishing, &ending{r, f})
				e.consider(en)
				return
			}
			r.end()
		})
	})
}

func (e *engine) tell(en *entry, records []Record) {
	for _, r := range records {
		r.Job = en.name
		e.observe(r)
	}
}

// interrupt tells the runs to stop.
func (e *engine) interrupt() {
	for r := range e.workers.running {
		r.cancel(ErrStopped)
	}
}

// abandon leaves what could not be written to the background: claims are given
// back there, without a record, or go with the lease.
func (e *engine) abandon() {
	for _, en := range e.entries {
		if a := en.claiming; a != nil {
			e.epoch.Background(func(ctx context.Context) {
				err := groupcommit.Repeat(ctx, func() error {
					_, err := e.epoch.Settle(ctx, a.fence, a.key)
					return err
				})
				if err == nil {
					e.giveBack(ctx, a.key)
				}
			})
		}
		for _, end := range en.finishing {
			end.run.end()
			e.epoch.Background(func(ctx context.Context) { e.giveBack(ctx, end.run.key) })
		}
	}
	e.log.Warn("etcd did not answer in time: claims are given back later", "scheduler", e.name)
}

// giveBack deletes a claim if it is of this epoch.
func (e *engine) giveBack(ctx context.Context, key string) {
	commits := groupcommit.New(e.session.Client(), nil)
	defer commits.Wait()
	_, err := groupcommit.Until(ctx, commits, groupcommit.Txn{
		If:   []clientv3.Cmp{clientv3.Compare(clientv3.LeaseValue(key), "=", e.epoch.Lease())},
		Then: []clientv3.Op{clientv3.OpDelete(key)},
	})
	if err != nil {
		e.log.Debug("a claim is left to its lease", "key", key, "err", err)
	}
}
