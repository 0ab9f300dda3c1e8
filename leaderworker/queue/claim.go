package queue

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/internal/prefixwatch"
	"github.com/gotenure/tenure/session"
)

// An attempt is a claim that a transaction under way may make.
type attempt struct {
	claim claim
	fence session.Fence
}

// refusedPause is how long a consumer claims nothing after etcd has refused a
// write: no permission, no room.
const refusedPause = time.Second

// watch looks after a shard.
func (c *consumer) watch(n int) {
	ctx, cancel := context.WithCancel(c.ctx)
	c.watches[n] = cancel
	c.follow(ctx, prefixwatch.Config{Key: c.shard(n), Prefix: true}, func(u prefixwatch.Update) { c.seeShard(n, u) })
}

// unwatch leaves a shard to somebody else. What is claimed of it stays.
func (c *consumer) unwatch(n int) {
	if c.watches[n] == nil {
		return
	}
	c.watches[n]()
	c.watches[n] = nil
	c.backlog.drop(n)
}

// seeShard takes in what has happened to the tasks of a shard.
func (c *consumer) seeShard(n int, u prefixwatch.Update) {
	for _, ev := range u.Events {
		rest := strings.TrimPrefix(string(ev.Kv.Key), c.shard(n))
		deleted := ev.Type == clientv3.EventTypeDelete
		if name, ok := strings.CutPrefix(rest, todo); ok {
			p, ok := parsePlace(name)
			switch {
			case !ok:
				c.log.Error("a key that is no task's", "queue", c.name, "key", string(ev.Kv.Key))
			case deleted:
				c.backlog.remove(p, ev.Kv.ModRevision)
			default:
				c.learn(p, ev.Kv.Value, ev.Kv.ModRevision)
			}
		}
		if id, ok := strings.CutPrefix(rest, claims); ok {
			if deleted {
				c.backlog.release(id, ev.Kv.ModRevision)
			} else {
				c.backlog.hold(id, ev.Kv.CreateRevision)
			}
		}
	}
}

func (c *consumer) learn(p place, value []byte, mod int64) {
	var e entry
	if err := json.Unmarshal(value, &e); err != nil {
		c.log.Error("a task's key cannot be read", "queue", c.name, "task", p.id, "err", err)
		return
	}
	c.backlog.put(p, e, mod)
}

// claimTask claims a task, or buries it if too many processes have died with it.
// The transaction compares the task's key, which every claim writes, so each
// state of a task is claimed once.
func (c *consumer) claimTask(it *item, at time.Time) {
	if it.entry.Tries >= c.tries {
		c.bury(it)
		return
	}
	c.crew.claims++
	a := &attempt{
		claim: claim{
			Claim:   c.members.own + "-" + strconv.Itoa(c.crew.claims),
			Session: c.session.Name(), Since: at.UTC().Truncate(time.Millisecond),
		},
		fence: c.epoch.Fence(),
	}
	c.inflight[it] = a
	p, lease := it.place, clientv3.WithLease(c.epoch.Lease())
	tried := it.entry
	tried.Tries++
	txn := groupcommit.Txn{
		If: []clientv3.Cmp{unchanged(c.todo(p), it.mod), absent(c.claim(p.id)), a.fence.Cmp()},
		Else: []clientv3.Op{
			clientv3.OpGet(c.task(p.id)), clientv3.OpGet(c.todo(p)), clientv3.OpGet(c.claim(p.id)),
			clientv3.OpGet(a.fence.Key(), clientv3.WithKeysOnly()),
		},
	}
	if c.maxActive > 0 {
		a.claim.Slot = c.slots.take(a.claim.Claim)
		key := c.slot(a.claim.Slot)
		txn.If = append(txn.If, absent(key))
		txn.Then = append(txn.Then, clientv3.OpPut(key, p.id, lease))
		txn.Else = append(txn.Else, clientv3.OpGet(key, clientv3.WithKeysOnly()))
	}
	txn.Then = append([]clientv3.Op{
		clientv3.OpGet(c.task(p.id)),
		clientv3.OpPut(c.todo(p), encode(tried)),
		clientv3.OpPut(c.claim(p.id), encode(a.claim), lease),
	}, txn.Then...)
	c.submit(txn, func(r groupcommit.Result, err error) {
		delete(c.inflight, it)
		c.answered(it, a, tried, r, err)
	})
}

// answered takes in what has become of a claim.
func (c *consumer) answered(it *item, a *attempt, tried entry, r groupcommit.Result, err error) {
	if err != nil {
		c.refused("claim", err)
		delete(c.slots.taken, a.claim.Slot)
		c.backlog.free(it)
		return
	}
	id := it.place.id
	if r.Succeeded {
		c.backlog.hold(id, r.Revision)
		c.take(it, a, tried, r, r.Revision)
		return
	}
	held := r.Value(2)
	var who claim
	if held != nil && json.Unmarshal(held.Value, &who) == nil && who.Claim == a.claim.Claim {
		// An attempt before this one has made it, and its answer was lost.
		c.backlog.hold(id, held.CreateRevision)
		c.take(it, a, tried, r, held.CreateRevision)
		return
	}
	if held != nil {
		c.backlog.hold(id, held.CreateRevision)
	} else {
		c.backlog.release(id, r.Revision+1)
	}
	if now := r.Value(1); now != nil {
		c.learn(it.place, now.Value, now.ModRevision)
	} else {
		c.backlog.remove(it.place, r.Revision)
	}
	if r.Value(3) != nil {
		c.epoch.Closed(a.fence)
	}
	if a.claim.Slot > 0 && r.Value(4) == nil {
		delete(c.slots.taken, a.claim.Slot)
	}
	c.backlog.free(it)
}

// take makes a task of what was claimed.
func (c *consumer) take(it *item, a *attempt, tried entry, r groupcommit.Result, token int64) {
	t := &Task{consumer: c, item: it, id: it.place.id, place: it.place, entry: tried, claim: a.claim, slot: a.claim.Slot, token: token, epoch: c.epoch}
	if body := r.Value(0); body != nil {
		payload, err := parseHeader(body.Value, &t.task)
		if err != nil {
			c.log.Error("a task cannot be read", "queue", c.name, "task", t.id, "err", err)
			c.settle(t, verdict{err: Permanent(err)})
			return
		}
		t.payload = payload
	}
	if c.stopping {
		c.settle(t, verdict{giveBack: true})
		return
	}
	c.hand = append(c.hand, t)
}

// bury moves a task with which too many processes have died to the dead
// letters.
func (c *consumer) bury(it *item) {
	p := it.place
	d := dead{At: now(), Priority: p.priority, Tries: it.entry.Tries, Error: it.entry.Error}
	if d.Error == "" {
		d.Error = "the processes that tried it have died"
	}
	txn := groupcommit.Txn{
		If:   []clientv3.Cmp{unchanged(c.todo(p), it.mod), absent(c.claim(p.id))},
		Then: []clientv3.Op{clientv3.OpDelete(c.todo(p)), clientv3.OpPut(c.dead(p.id), encode(d))},
		Else: []clientv3.Op{clientv3.OpGet(c.todo(p))},
	}
	c.inflight[it] = &attempt{fence: c.epoch.Fence()}
	c.submit(txn, func(r groupcommit.Result, err error) {
		delete(c.inflight, it)
		switch {
		case err != nil:
			c.refused("bury", err)
		case r.Succeeded || r.Value(0) == nil:
			c.backlog.remove(p, r.Revision)
		default:
			c.learn(p, r.Value(0).Value, r.Value(0).ModRevision)
		}
		c.backlog.free(it)
	})
}

// submit commits a transaction that can be repeated, until etcd has answered,
// and has the answer taken in. It is not taken in if the epoch is over.
func (c *consumer) submit(txn groupcommit.Txn, take func(groupcommit.Result, error)) {
	c.helpers.Go(func() {
		r, err := groupcommit.Until(c.ctx, c.commits, txn)
		if c.ctx.Err() == nil {
			c.post(func() { take(r, err) })
		}
	})
}

// refused deals with an answer that says no.
func (c *consumer) refused(what string, err error) {
	c.epoch.Report(err)
	c.holdOff = time.Now().Add(refusedPause)
	c.log.Warn("etcd refuses to write", "queue", c.name, "what", what, "err", err)
}

func parseSlot(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n > 0 && strconv.Itoa(n) == text
}
