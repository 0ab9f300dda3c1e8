package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// What the checkers read out of a history: beliefs, keys, and who was connected
// and waiting when.

// A belief is the time from Acquired to Lost or Releasing, whichever is first.
type belief struct {
	acquired Event
	end      *Event // nil: until the end of the history
	span     span
}

func (b belief) String() string {
	until := "the end"
	if b.end != nil {
		until = fmt.Sprintf("%v (%v)", b.span.to, b.end.Kind)
	}
	return fmt.Sprintf("%s with token %d from %v to %s", b.acquired.Client, b.acquired.Token, b.span.from, until)
}

// empty tells whether the client was told of the loss at the instant of the
// grant: what Lock returned was never good for anything.
func (b belief) empty() bool {
	return b.end != nil && b.end.Kind == Lost && b.span.length() == 0
}

// beliefs returns the beliefs of each lock in the order in which they began.
func (h History) beliefs() map[string][]belief {
	ends := make(map[int]*Event)
	for i := range h.Events {
		e := &h.Events[i]
		if (e.Kind == Lost || e.Kind == Releasing) && ends[e.Attempt] == nil {
			ends[e.Attempt] = e
		}
	}
	out := make(map[string][]belief)
	for _, e := range h.Events {
		if e.Kind != Acquired {
			continue
		}
		b := belief{acquired: e, end: ends[e.Attempt], span: span{e.At, h.End}}
		if b.end != nil {
			b.span.to = b.end.At
		}
		out[e.Name] = append(out[e.Name], b)
	}
	return out
}

// A key is the life of one key in the queue of a lock. It owns the lock from
// the moment when it is the oldest.
type key struct {
	Change               // the PUT that created it
	owns   time.Duration // from then on it was the oldest; h.End if it never was
	gone   time.Duration // h.End if it never was deleted
	// The same two as revisions; never stands for an event that did not happen.
	ownsRev, goneRev int64
}

const never = math.MaxInt64

func (k key) lives() span  { return span{k.At, k.gone} }
func (k key) owning() span { return span{k.owns, k.gone} }

func (k key) String() string {
	return fmt.Sprintf("key %s created at revision %d, %v", k.Key, k.Created, k.At)
}

// keys returns the keys of each lock in the order of creation.
func (h History) keys() map[string][]key {
	out := make(map[string][]key)
	alive := make(map[string]int) // key -> where it is in its list
	for _, c := range h.Changes {
		if c.Name == "" {
			continue
		}
		list := out[c.Name]
		switch i, known := alive[c.Key]; {
		case c.Deleted && known:
			list[i].gone, list[i].goneRev = c.At, c.Revision
			delete(alive, c.Key)
		case !c.Deleted && !known:
			alive[c.Key] = len(list)
			out[c.Name] = append(list, key{Change: c, gone: h.End, goneRev: never})
		}
	}
	for _, list := range out {
		var at time.Duration // when, and at which revision, all older keys were gone
		var rev int64
		for i := range list {
			k := &list[i]
			k.owns, k.ownsRev = max(at, k.At), max(rev, k.Created)
			at, rev = max(at, k.gone), max(rev, k.goneRev)
		}
	}
	return out
}

// keyOf returns the key with that create revision.
func keyOf(keys []key, created int64) (key, bool) {
	i, ok := slices.BinarySearchFunc(keys, created, func(k key, rev int64) int { return cmp.Compare(k.Created, rev) })
	if !ok {
		return key{}, false
	}
	return keys[i], true
}

// clientOf returns for each lease the client that it belongs to.
func (h History) clientOf() map[int64]string {
	out := make(map[int64]string)
	for _, e := range h.Events {
		if e.Kind == Session {
			out[e.Lease] = e.Client
		}
	}
	return out
}

// connected is the time in which the client could reach the store.
func (h History) connected(client string) spans {
	return h.down(client).complement(h.End).without(h.down(""), h.End)
}

func (h History) down(client string) spans {
	var out []span
	since := time.Duration(-1)
	for _, e := range h.Events {
		if e.Client != client {
			continue
		}
		switch {
		case e.Kind == Down && since < 0:
			since = e.At
		case e.Kind == Up && since >= 0:
			out = append(out, span{since, e.At})
			since = -1
		}
	}
	if since >= 0 {
		out = append(out, span{since, h.End})
	}
	return union(out...)
}

// between is the time that a client's attempts on a lock spend between an event
// of kind from and the next one of the kinds to.
func (h History) between(client, name string, from Kind, to ...Kind) spans {
	begun := make(map[int]time.Duration)
	var out []span
	for _, e := range h.Events {
		if e.Client != client || e.Name != name {
			continue
		}
		at, open := begun[e.Attempt]
		switch {
		case e.Kind == from:
			begun[e.Attempt] = e.At
		case open && slices.Contains(to, e.Kind):
			out = append(out, span{at, e.At})
			delete(begun, e.Attempt)
		}
	}
	for _, at := range begun {
		out = append(out, span{at, h.End})
	}
	return union(out...)
}
