package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gotenure/tenure/leaderworker"
	"github.com/gotenure/tenure/leaderworker/cron"
	"github.com/gotenure/tenure/leaderworker/queue"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// beat is how often the owner of a shard does something with it.
const beat = 200 * time.Millisecond

// errOvertaken is returned when etcd refused a write because somebody else has the claim by now.
var errOvertaken = errors.New("refused by etcd: the claim has passed on")

// An order is a task's payload.
type order struct {
	Name string `json:"name"`
	Fate string `json:"fate,omitempty"` // what goes wrong with it
}

const (
	failsOnce = "fails at the first try"
	neverGood = "can never work"
)

// tick is the work of a job. It can be interrupted and begun again on another node: so each task has a key by which the
// queue knows it again, and the record is written once.
func (n *node) tick(ctx context.Context, r *cron.Run, spec jobSpec) error {
	defer n.witness.begin("tick of "+r.Job()+" "+r.ID(), n.name, r.Token())()
	defer n.busy(r.Job())()
	defer n.lostClaim(ctx, "job "+r.Job()+" of "+clock(r.Tick()), cron.ErrLost)
	if err := pause(ctx, spec.Takes); err != nil {
		return err
	}
	for i := range spec.Tasks {
		if err := n.enqueue(ctx, r, spec, i); err != nil {
			return err
		}
	}
	if _, err := n.once(ctx, tickKey(r.Job(), r.Tick()), r.Guard()); err != nil {
		return err
	}
	n.witness.count(n.name, "ticks")
	again := ""
	if r.Attempt() > 1 {
		again = fmt.Sprintf("   attempt %d: it was taken over", r.Attempt())
	}
	n.say("ran job %-8s of %s%s", r.Job(), clock(r.Tick()), again)
	return nil
}

func (n *node) enqueue(ctx context.Context, r *cron.Run, spec jobSpec, i int) error {
	o := order{Name: fmt.Sprintf("%s %s/%d", strings.TrimSuffix(r.Job(), "s"), clock(r.Tick()), i+1)}
	switch turn := r.Tick().UnixMilli() / spec.Every.Milliseconds(); {
	case turn%3 == 0 && i == 1:
		o.Fate = failsOnce
	case turn%4 == 1 && i == 2:
		o.Fate = neverGood
	}
	payload, err := json.Marshal(o)
	if err != nil {
		return err
	}
	id, err := n.tasks.Enqueue(ctx, payload, queue.Dedupe(fmt.Sprintf("%s/%s/%d", r.Job(), r.ID(), i)))
	if err != nil && !errors.Is(err, queue.ErrDuplicate) {
		return err
	}
	// Who enqueues the same again is told the same id, and writes the same again.
	_, err = n.client.Put(ctx, n.namespace+acceptedPrefix+id, o.Name)
	return err
}

// do is the work of a task.
func (n *node) do(ctx context.Context, t *queue.Task) error {
	defer n.witness.begin("task "+t.ID(), n.name, t.Token())()
	var o order
	if err := json.Unmarshal(t.Payload(), &o); err != nil {
		return queue.Permanent(err)
	}
	defer n.busy(o.Name)()
	defer n.lostClaim(ctx, "task "+o.Name, queue.ErrLost)
	if err := pause(ctx, n.jobs.Get().TaskTakes); err != nil {
		return err
	}
	switch {
	case o.Fate == neverGood:
		n.say("task %s can never work: it goes to the dead letters", o.Name)
		return queue.Permanent(errors.New(o.Fate))
	case o.Fate == failsOnce && t.Try() == 1:
		n.say("task %s failed; the queue has it tried again", o.Name)
		return errors.New(o.Fate)
	}
	first, err := n.once(ctx, doneKey(t.ID()), t.Guard())
	switch {
	case err != nil:
		return err
	case !first:
		n.say("task %s had been done when its node was cut off: not done again", o.Name)
	case t.Try() > 1:
		n.say("did task %s, try %d", o.Name, t.Try())
	}
	if first {
		n.witness.count(n.name, "tasks")
	}
	return nil
}

// lostClaim says so if the context of what was worked on has ended with its claim.
func (n *node) lostClaim(ctx context.Context, what string, lost error) {
	if errors.Is(context.Cause(ctx), lost) {
		n.say("lets go of %s: it may go to another node now", what)
	}
}

// once writes a record, in a transaction that commits only while the claim is held and if there is no record yet. It
// tells whether it was the first: a try before may have been cut off between its write and the answer.
func (n *node) once(ctx context.Context, key string, guard []clientv3.Cmp) (first bool, err error) {
	key = n.namespace + key
	missing := clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
	resp, err := n.client.Txn(ctx).
		If(slices.Concat(guard, []clientv3.Cmp{missing})...).
		Then(clientv3.OpPut(key, n.name)).
		Else(clientv3.OpGet(key)).
		Commit()
	switch {
	case err != nil:
		return false, err
	case resp.Succeeded:
		return true, nil
	case len(resp.Responses[0].GetResponseRange().Kvs) > 0:
		return false, nil
	}
	return false, errOvertaken
}

// A write is a beat of a shard.
type write struct {
	shard string
	guard []clientv3.Cmp
	op    clientv3.Op
}

// own is the work on a shard: a beat now and then, for as long as the node owns it.
func (n *node) own(ctx context.Context, sh leaderworker.Shard) error {
	defer n.witness.begin("shard "+sh.Name(), n.name, sh.Token())()
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	// One key for each ownership: the revisions of its first and its last write say from when to when it was.
	w := write{sh.Name(), sh.Guard(), clientv3.OpPut(n.namespace+shardKey(sh.Name(), sh.Token()), n.name)}
	for {
		resp, err := n.client.Txn(ctx).If(w.guard...).Then(w.op).Commit()
		switch {
		case errors.Is(context.Cause(ctx), leaderworker.ErrLost):
			n.mu.Lock()
			n.late = append(n.late, w)
			n.mu.Unlock()
			return nil
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err // called again after a pause
		case !resp.Succeeded:
			<-ctx.Done() // the ownership is over, and this is about to be told
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// tryLate repeats writes that were lost with the lease, as many programs do once the network is back. Everywhere else
// that is the moment in which data are damaged; here the guard has etcd refuse them.
func (n *node) tryLate(ctx context.Context) {
	for {
		select {
		case <-n.renewed:
		case <-ctx.Done():
			return
		}
		n.mu.Lock()
		late := n.late
		n.late = nil
		n.mu.Unlock()
		for _, w := range late {
			resp, err := n.client.Txn(ctx).If(w.guard...).Then(w.op).Commit()
			switch {
			case err != nil:
			case resp.Succeeded:
				n.say("late write to shard %s: taken, nobody else had it yet", w.shard)
			default:
				n.witness.count(n.name, "refused")
				n.say("late write to shard %s: REFUSED by etcd, the shard has passed on", w.shard)
			}
		}
	}
}

// pause stands for work that takes time.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// clock writes a tick as people would.
func clock(t time.Time) string { return t.Local().Format("15:04:05") }
