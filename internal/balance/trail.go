package balance

import (
	"maps"
	"slices"
)

// trails are the ways that shards of one weight can go from worker to worker,
// shortest first.
type trails struct {
	board  *board
	weight int64
	by     []step // how each worker was reached
	level  []int  // those that were reached last, in order
	count  int    // of those that were reached
}

// A step says that a shard of a kind goes to a worker from another one.
type step struct {
	from, kind int
	reached    bool
}

func (b *board) newTrails(weight int64) *trails {
	return &trails{board: b, weight: weight, by: make([]step, len(b.workers))}
}

func (t *trails) reach(worker int, by step) {
	if !t.by[worker].reached {
		by.reached = true
		t.by[worker] = by
		t.level = append(t.level, worker)
		t.count++
	}
}

// find goes on until it reaches workers that are good and have room, and
// returns the one of them that has most too little.
func (t *trails) find(good func(worker int) bool) (end int, ok bool) {
	b := t.board
	for len(t.level) > 0 {
		reached := t.level
		t.level = nil
		if t.count == len(b.workers) {
			return 0, false // everybody was reached, and none of them will do
		}
		for _, from := range reached {
			kinds := b.seats[from].has
			for _, k := range slices.Sorted(maps.Keys(kinds)) {
				if b.kinds[k].weight != t.weight {
					continue
				}
				for _, w := range b.kinds[k].fits {
					t.reach(w, step{from: from, kind: k})
				}
			}
		}
		for _, w := range t.level {
			if b.seats[w].room(t.weight) && good(w) && (!ok || b.seats[w].deviation() < b.seats[end].deviation()-slack) {
				end, ok = w, true
			}
		}
		if ok {
			return end, true
		}
	}
	return 0, false
}

// follow moves one shard along each step of the trail that ends there, the last
// one first, and returns the worker where it began, which has given one.
func (b *board) follow(t *trails, end int) (start int) {
	for at := end; ; {
		by := t.by[at]
		if by.from < 0 {
			return at
		}
		b.put(b.take(by.kind, by.from), at)
		at = by.from
	}
}
