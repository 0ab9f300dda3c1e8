package election

import (
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/prefixwatch"
)

// A board derives who leads from the keys of an election: at every revision it
// is the one with the lowest create revision. It has no goroutine, no clock
// and no I/O.
//
// Every term is seen, however short: the board takes each revision by itself,
// and a candidate that leads at a revision is in no event of an earlier one.
type board struct {
	keys  map[string]standing
	now   standing // who leads; the zero value if nobody does
	rev   int64    // everything up to here is in
	since int64    // the reader knows everything up to here; 0 for nothing
	begun bool
}

// A standing is a candidate's key.
type standing struct {
	Leader
	mod int64 // its mod revision, which says which value it has
}

// An entry is an event and who leads after it.
type entry struct {
	Event
	after standing
}

// apply takes an update in and returns what is new.
func (b *board) apply(u prefixwatch.Update) []entry {
	if u.Reset {
		return b.reset(u)
	}
	var entries []entry
	for rest := u.Events; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Kv.ModRevision == rest[0].Kv.ModRevision {
			n++
		}
		was := b.now
		b.take(rest[:n])
		b.rev = rest[0].Kv.ModRevision
		if ev, ok := news(was, b.now, b.rev); ok {
			entries = append(entries, entry{ev, b.now})
		}
		rest = rest[n:]
	}
	b.rev = max(b.rev, u.Revision)
	return entries
}

// reset takes a snapshot in: the first one, or one after which it is not known
// what happened since the last update.
func (b *board) reset(u prefixwatch.Update) []entry {
	was, before, begun := b.now, b.rev, b.begun
	b.take(u.Events)
	b.rev, b.begun = u.Revision, true
	switch {
	case begun:
		return missed(was, b.now, before, b.rev)
	case b.since == u.Revision:
		return nil // that is where the reader was
	case b.since > 0:
		return missed(standing{}, b.now, b.since, b.rev)
	}
	return []entry{present(b.now, b.rev)}
}

// take applies events without a look at what they mean in between.
func (b *board) take(events []*clientv3.Event) {
	if b.keys == nil {
		b.keys = make(map[string]standing)
	}
	for _, ev := range events {
		key := string(ev.Kv.Key)
		if ev.Type == clientv3.EventTypeDelete {
			delete(b.keys, key)
			continue
		}
		b.keys[key] = standing{
			Leader: Leader{Token: ev.Kv.CreateRevision, Value: ev.Kv.Value, Key: key, Lease: clientv3.LeaseID(ev.Kv.Lease)},
			mod:    ev.Kv.ModRevision,
		}
	}
	// Whoever comes has a larger create revision than whoever is there, so as
	// long as the leader's key stays it leads.
	if leader, ok := b.keys[b.now.Key]; ok && leader.Token == b.now.Token {
		b.now = leader
		return
	}
	b.now = standing{}
	for _, s := range b.keys {
		if b.now.Token == 0 || s.Token < b.now.Token {
			b.now = s
		}
	}
}

// news is what happened from one state to the next, at revision rev.
func news(was, now standing, rev int64) (Event, bool) {
	switch {
	case now.Token == was.Token && now.mod == was.mod:
		return Event{}, false
	case now.Token == 0:
		return Event{Kind: Vacant, Revision: rev}, true
	case now.Token == was.Token:
		return Event{Kind: Changed, Leader: now.Leader, Revision: rev}, true
	}
	return Event{Kind: Elected, Leader: now.Leader, Revision: rev}, true
}

// present is what a reader is told who knows nothing yet.
func present(now standing, rev int64) entry {
	ev, ok := news(standing{}, now, rev)
	if !ok {
		ev = Event{Kind: Vacant, Revision: rev}
	}
	return entry{ev, now}
}

// missed is what a reader is told who knows the state at revision before, and
// then nothing until rev. A leader whose key is still there with the value that
// it had has led all the time, so nothing was missed. Vacant before and after
// proves nothing.
func missed(was, now standing, before, rev int64) []entry {
	if was.Token != 0 && was.Token == now.Token && was.mod == now.mod {
		return nil
	}
	ev, ok := news(was, now, rev)
	if !ok {
		ev = Event{Kind: Vacant, Revision: rev}
	}
	return []entry{{Event{Kind: Gap, Revision: before}, was}, {ev, now}}
}
