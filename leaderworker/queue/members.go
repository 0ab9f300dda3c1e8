package queue

import (
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/internal/prefixwatch"
)

const (
	// saturation is for how long a consumer must have had no room, and tasks that
	// wait for it, before it leaves its shards to those that have room.
	saturation = 250 * time.Millisecond

	// oddTime is for how long the own key may differ from what it should be before
	// it is written again. The watch takes a moment, and a write that was given
	// up for lost may arrive after the one that followed it.
	oddTime = time.Second
)

// members are the consumers that have room. Each shard is looked after by one
// of them; see responsible.
//
//	has room ── no room for a while, and others have ──▶ busy
//	    ▲                                                 │
//	    └──────────────── half of it is free again ───────┘
type members struct {
	own  string
	seen map[string]bool // those whose keys exist, as far as the watch has told

	joined bool      // the own key should exist, or may
	busy   bool      // a transaction about it is under way
	since  time.Time // there is no room
	odd    time.Time // since when the watch says otherwise
	alarm  time.Time
}

// announce makes the consumer's key say whether it has room.
func (c *consumer) announce(now time.Time) {
	m := &c.members
	m.alarm = time.Time{}
	if m.busy || m.joined == m.seen[m.own] {
		m.odd = time.Time{}
	} else if m.odd.IsZero() {
		m.odd = now
	}
	switch {
	case m.busy:
	case !c.stopping && !m.odd.IsZero() && now.Sub(m.odd) > oddTime:
		c.join(m.joined)
	case c.stopping:
		if m.joined {
			c.join(false)
		}
	case !m.joined:
		if c.room() > (c.workers+c.prefetch-1)/2 {
			c.join(true)
		}
	case c.room() > 0 || !c.backlog.ready(now) || len(m.seen) < 2:
		m.since = time.Time{}
	case m.since.IsZero():
		m.since = now
		m.alarm = now.Add(saturation)
	case now.Sub(m.since) >= saturation:
		m.since = time.Time{}
		c.join(false)
	default:
		m.alarm = m.since.Add(saturation)
	}
}

// join writes the consumer's key, or deletes it. Both can be repeated, and only
// one of them is under way at a time; what arrives late is put right by announce.
func (c *consumer) join(in bool) {
	key := c.consumers() + c.members.own
	txn := groupcommit.Txn{Then: []clientv3.Op{clientv3.OpDelete(key)}}
	if in {
		txn.Then[0] = clientv3.OpPut(key, c.session.Name(), clientv3.WithLease(c.epoch.Lease()))
	}
	c.members.busy, c.members.joined = true, true
	c.helpers.Go(func() {
		_, err := groupcommit.Until(c.ctx, c.commits, txn)
		c.post(func() {
			c.members.busy, c.members.joined = false, in
			if err != nil {
				c.epoch.Report(err)
				c.members.joined = false
				c.log.Warn("a consumer cannot say whether it has room", "queue", c.name, "err", err)
			}
		})
	})
}

// seeMembers takes in who has room, and looks after the shards that are this
// consumer's now.
func (c *consumer) seeMembers(u prefixwatch.Update) {
	for _, ev := range u.Events {
		name := strings.TrimPrefix(string(ev.Kv.Key), c.consumers())
		if ev.Type == clientv3.EventTypeDelete {
			delete(c.members.seen, name)
		} else {
			c.members.seen[name] = true
		}
	}
	if c.stopping {
		return
	}
	for n, mine := range responsible(c.members.own, c.members.seen) {
		switch {
		case mine && c.watches[n] == nil:
			c.watch(n)
		case !mine && c.watches[n] != nil:
			c.unwatch(n)
		}
	}
}

// slots are what bounds how many tasks are claimed at once, if anything does.
type slots struct {
	max   int
	taken map[int]bool // by anybody, as far as is known, attempts of this process included
}

func newSlots(n int) slots { return slots{max: n, taken: make(map[int]bool)} }

func (s *slots) any() bool { return s.max == 0 || len(s.taken) < s.max }

// take returns a slot that seems to be free, 0 if none is needed. Consumers
// begin their search at different ones.
func (s *slots) take(salt string) int {
	if s.max == 0 {
		return 0
	}
	first := int(hash(salt) % uint64(s.max))
	for i := range s.max {
		if n := (first+i)%s.max + 1; !s.taken[n] {
			s.taken[n] = true
			return n
		}
	}
	return 0
}

// seeSlots takes in which slots are taken.
func (c *consumer) seeSlots(u prefixwatch.Update) {
	prefix := c.slot(0)[:len(c.slot(0))-1]
	for _, ev := range u.Events {
		n, ok := parseSlot(strings.TrimPrefix(string(ev.Kv.Key), prefix))
		switch {
		case !ok:
		case ev.Type == clientv3.EventTypeDelete:
			delete(c.slots.taken, n)
		default:
			c.slots.taken[n] = true
		}
	}
}
