package history

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"
)

// Starvation checks M5: a client that waits, is connected, and has the oldest
// key is granted within the bound.
func Starvation(h History, bound time.Duration) []Violation {
	return h.idleKeys("M5", bound,
		"has the oldest key, is connected and waits, but is not granted",
		func(k key, c *clientView) spans {
			return union(k.owning()).and(c.waiting).without(c.believing, h.End)
		})
}

// Leftovers checks M6: a key that its client neither waits with, nor owns by,
// nor is releasing is gone within the bound. So no failed Lock and no failed
// Unlock leaves one.
func Leftovers(h History, bound time.Duration) []Violation {
	return h.idleKeys("M6", bound,
		"is connected and wants nothing, but its key is still there",
		func(k key, c *clientView) spans {
			used := union(slices.Concat(c.waiting, c.believing, c.releasing)...)
			return union(k.lives()).without(used, h.End)
		})
}

// idleKeys complains of every key that is in a bad state for longer than bound
// while its client is connected without a break. Keys of leases that no client
// announced are nobody's.
func (h History) idleKeys(rule string, bound time.Duration, what string, bad func(key, *clientView) spans) []Violation {
	var out []Violation
	clientOf := h.clientOf()
	views := make(map[[2]string]*clientView)
	for name, keys := range sorted(h.keys()) {
		for _, k := range keys {
			client, known := clientOf[k.Lease]
			if !known {
				continue
			}
			id := [2]string{client, name}
			if views[id] == nil {
				views[id] = h.viewOf(client, name)
			}
			for _, s := range bad(k, views[id]).and(views[id].connected) {
				if s.length() > bound {
					out = append(out, Violation{
						Rule: rule, Name: name, At: s.from,
						Text: fmt.Sprintf("%s %s for %v, until %v: %v", client, what, s.length(), s.to, k),
					})
				}
			}
		}
	}
	return out
}

// A clientView is what one client does with one lock, and when.
type clientView struct{ connected, waiting, believing, releasing spans }

func (h History) viewOf(client, name string) *clientView {
	return &clientView{
		connected: h.connected(client),
		waiting:   h.between(client, name, Asked, Acquired, Failed),
		believing: h.between(client, name, Acquired, Lost, Releasing),
		releasing: h.between(client, name, Releasing, Released),
	}
}

// sorted ranges over a map in the order of its names, so that reports of one
// history are always the same.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if !yield(name, m[name]) {
				return
			}
		}
	}
}
