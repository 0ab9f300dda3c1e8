package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Sharing is a kind of lock that several may hold beside each other: each key
// and each belief weighs something, and what holds must not weigh more than the
// capacity. A writer weighs as much as that, a reader next to nothing.
type Sharing struct {
	Overlap, Order string // what its two rules are called
	Capacity       int64
	// Weigh tells what a key weighs once it was put like that.
	Weigh func(put Change) int64
}

// Check checks every lock of the history: it must have no others, see Only.
//
// Beliefs that overlap fit into the capacity. A key is admitted when it and all
// older keys fit; nobody believes before that, guarded writes are done only
// between that and the end of the key, and a client that waits with an admitted
// key, connected, is granted within the bound. What Leftovers and LeaseSafety
// check holds too.
func (s Sharing) Check(h History, b Bounds) []Violation {
	var out []Violation
	for _, gap := range h.Gaps {
		out = append(out, Violation{Rule: "blind", At: h.End, Text: gap})
	}
	out = append(out, s.overlaps(h)...)
	out = append(out, s.order(h, b.Grant)...)
	out = append(out, Leftovers(h, b.Settle)...)
	return append(out, LeaseSafety(h)...)
}

func (s Sharing) overlaps(h History) []Violation {
	var out []Violation
	for name, beliefs := range sorted(h.beliefs()) {
		var open []belief
		for _, b := range beliefs {
			if b.empty() {
				continue
			}
			open = slices.DeleteFunc(open, func(a belief) bool { return a.endsBefore(b.acquired) })
			open = append(open, b)
			var sum int64
			for _, a := range open {
				sum += a.acquired.Weight
			}
			if sum > s.Capacity {
				out = append(out, Violation{
					Rule: s.Overlap, Name: name, At: b.acquired.At,
					Text: fmt.Sprintf("%d of %d are held: %v", sum, s.Capacity, open),
				})
			}
		}
	}
	return out
}

// order checks what follows from the keys in the store.
func (s Sharing) order(h History, bound time.Duration) []Violation {
	var out []Violation
	clientOf, admissions, keys := h.clientOf(), s.admissions(h), h.keys()
	written := h.writes()
	for name, beliefs := range sorted(h.beliefs()) {
		for _, b := range beliefs {
			k, known := keyOf(keys[name], b.acquired.Created)
			a, admitted := admissions[name][b.acquired.Created]
			switch {
			case b.empty():
			case !known, !admitted, b.acquired.At < a.at:
				out = append(out, Violation{
					Rule: s.Order, Name: name, At: b.acquired.At,
					Text: fmt.Sprintf("granted before there was room, at %v: %v, %v", a.at, b, k),
				})
			}
			for _, rev := range written[b.acquired.Attempt] {
				if !admitted || rev < a.rev || rev > k.goneRev {
					out = append(out, Violation{
						Rule: "M3", Name: name, At: b.acquired.At,
						Text: fmt.Sprintf("a write was done at revision %d, outside of the ownership (from %d): %v", rev, a.rev, b),
					})
				}
			}
		}
		for _, k := range keys[name] {
			a, admitted := admissions[name][k.Created]
			client, announced := clientOf[k.Lease]
			if !admitted || !announced {
				continue
			}
			view := h.viewOf(client, name)
			waits := union(span{a.at, k.gone}).and(view.waiting).without(view.believing, h.End).and(view.connected)
			for _, w := range waits {
				if w.length() > bound {
					out = append(out, Violation{
						Rule: "M5", Name: name, At: w.from,
						Text: fmt.Sprintf("%s has room, is connected and waits, but is not granted for %v: %v", client, w.length(), k),
					})
				}
			}
		}
	}
	return out
}

// writes are the revisions of the guarded writes that were done, by attempt.
func (h History) writes() map[int][]int64 {
	stored := make(map[string]int64)
	for _, c := range h.Changes {
		if !c.Deleted && c.Value != "" {
			stored[c.Value] = c.Revision
		}
	}
	out := make(map[int][]int64)
	for _, e := range h.Events {
		if rev, done := stored[e.Mark]; e.Kind == Writing && done {
			out[e.Attempt] = append(out[e.Attempt], rev)
		}
	}
	return out
}

// An admission is when a key had room for the first time.
type admission struct {
	at  time.Duration
	rev int64
}

// admissions returns those of each lock by the create revisions of the keys.
func (s Sharing) admissions(h History) map[string]map[int64]admission {
	type alive struct{ created, weight int64 }
	out := make(map[string]map[int64]admission)
	live := make(map[string][]alive)
	for _, c := range h.Changes {
		if c.Name == "" {
			continue
		}
		queue := live[c.Name]
		i, there := slices.BinarySearchFunc(queue, c.Created, func(a alive, rev int64) int { return cmp.Compare(a.created, rev) })
		switch {
		case c.Deleted && there:
			queue = slices.Delete(queue, i, i+1)
		case c.Deleted:
		case there:
			queue[i].weight = s.Weigh(c)
		default:
			queue = slices.Insert(queue, i, alive{c.Created, s.Weigh(c)})
		}
		live[c.Name] = queue
		if out[c.Name] == nil {
			out[c.Name] = make(map[int64]admission)
		}
		var sum int64
		for _, a := range queue {
			if sum += a.weight; sum > s.Capacity {
				break
			}
			if _, before := out[c.Name][a.created]; !before {
				out[c.Name][a.created] = admission{c.At, c.Revision}
			}
		}
	}
	return out
}

// Only is the part of a history that is about some locks. What is about
// clients, and changes of keys that queue for no lock, stay.
func (h History) Only(about func(name string) bool) History {
	h.Events = slices.DeleteFunc(slices.Clone(h.Events), func(e Event) bool { return e.Name != "" && !about(e.Name) })
	h.Changes = slices.DeleteFunc(slices.Clone(h.Changes), func(c Change) bool { return c.Name != "" && !about(c.Name) })
	return h
}
