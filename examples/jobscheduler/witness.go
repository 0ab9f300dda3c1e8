package main

import (
	"fmt"
	"maps"
	"strings"
	"sync"
)

// A witness sees all nodes of this process at once, which no real program could: it knows when two of them work on the
// same thing, also if etcd would refuse what one of them writes.
type witness struct {
	mu     sync.Mutex
	at     map[string]string         // who works on a thing
	tokens map[string]int64          // the last one's
	begun  int                       // how often work was begun
	counts map[string]map[string]int // of a node: what it has done
	wrong  []string
}

func newWitness() *witness {
	return &witness{at: map[string]string{}, tokens: map[string]int64{}, counts: map[string]map[string]int{}}
}

// begin notes that a node works on a thing until the returned function is called.
func (w *witness) begin(thing, node string, token int64) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if other, busy := w.at[thing]; busy {
		w.wrong = append(w.wrong, fmt.Sprintf("%s: %s began while %s worked on it", thing, node, other))
	}
	// Only work on a shard may begin again with the same token: after it has failed. A claim is begun once.
	if last := w.tokens[thing]; token < last || token == last && !strings.HasPrefix(thing, "shard ") {
		w.wrong = append(w.wrong, fmt.Sprintf("%s: %s has token %d after %d", thing, node, token, last))
	}
	w.at[thing], w.tokens[thing] = node, token
	w.begun++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.tokens[thing] == token {
			delete(w.at, thing)
		}
	}
}

// count notes that a node has done something.
func (w *witness) count(node, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.counts[node] == nil {
		w.counts[node] = map[string]int{}
	}
	w.counts[node][what]++
}

// of returns what a node has done.
func (w *witness) of(node string) map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.counts[node])
}

// testimony returns how often work was begun, and what was wrong with it.
func (w *witness) testimony() (begun int, wrong []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun, append([]string(nil), w.wrong...)
}
