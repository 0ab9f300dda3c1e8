package queue

import (
	"container/heap"
	"time"
)

// A backlog is what a consumer knows of the tasks of its shards. It has no I/O
// and no clock.
type backlog struct {
	items map[string]*item // by the name of their place
	byID  map[string]*item
	held  map[string]int64 // claims that exist, by id, with their create revisions
	queue heapOf           // those that can be claimed, by place
	later heapOf           // those whose time has not come, by time
}

// An item is a task that is to be done.
type item struct {
	place place
	entry entry
	mod   int64 // mod revision of its key, which a claim compares
	busy  bool  // this consumer claims it or has it
	gone  bool
	heap  *heapOf // that it is in, or nil
	index int
}

func newBacklog() backlog {
	return backlog{
		items: make(map[string]*item), byID: make(map[string]*item), held: make(map[string]int64),
		queue: heapOf{before: func(a, b place) bool { return a.before(b) }},
		later: heapOf{before: func(a, b place) bool { return a.due.Before(b.due) }},
	}
}

// put takes in a task's key. What is known already may be newer.
func (b *backlog) put(p place, e entry, mod int64) {
	it := b.items[p.String()]
	if it == nil {
		it = &item{place: p}
		b.items[p.String()] = it
		b.byID[p.id] = it
	}
	if mod > it.mod {
		it.entry, it.mod = e, mod
	}
	b.sort(it)
}

// remove takes in that a task's key was deleted.
func (b *backlog) remove(p place, mod int64) {
	it := b.items[p.String()]
	if it == nil || it.mod > mod {
		return
	}
	it.gone = true
	delete(b.items, p.String())
	if b.byID[p.id] == it {
		delete(b.byID, p.id)
	}
	b.sort(it)
}

// hold and release take in that a claim was created or deleted.
func (b *backlog) hold(id string, created int64) {
	b.held[id] = max(b.held[id], created)
	b.sort(b.byID[id])
}

func (b *backlog) release(id string, rev int64) {
	if b.held[id] < rev {
		delete(b.held, id)
		b.sort(b.byID[id])
	}
}

// free says that this consumer no longer claims a task, or has it.
func (b *backlog) free(it *item) {
	it.busy = false
	b.sort(it)
}

// drop forgets the tasks of a shard that somebody else looks after now.
func (b *backlog) drop(shard int) {
	for name, it := range b.items {
		if n, _ := shardOf(it.place.id); n == shard {
			it.gone = true
			b.sort(it)
			delete(b.items, name)
			delete(b.byID, it.place.id)
		}
	}
	for id := range b.held {
		if n, _ := shardOf(id); n == shard {
			delete(b.held, id)
		}
	}
}

// sort puts an item where it belongs: into no heap while it cannot be claimed.
func (b *backlog) sort(it *item) {
	switch {
	case it == nil:
	case it.gone || it.busy || b.held[it.place.id] > 0:
		if it.heap != nil {
			heap.Remove(it.heap, it.index)
		}
	case it.heap == nil:
		heap.Push(&b.later, it)
	}
}

// ripen moves what is due.
func (b *backlog) ripen(now time.Time) {
	for len(b.later.items) > 0 && !b.later.items[0].place.due.After(now) {
		heap.Push(&b.queue, heap.Pop(&b.later))
	}
}

// take returns the task whose turn it is, for this consumer to claim, or nil.
func (b *backlog) take(now time.Time) *item {
	b.ripen(now)
	if len(b.queue.items) == 0 {
		return nil
	}
	it := heap.Pop(&b.queue).(*item)
	it.busy = true
	return it
}

// ready tells whether there is a task that can be claimed.
func (b *backlog) ready(now time.Time) bool {
	b.ripen(now)
	return len(b.queue.items) > 0
}

// next is when the next delayed task is due, or zero.
func (b *backlog) next() time.Time {
	if len(b.later.items) == 0 {
		return time.Time{}
	}
	return b.later.items[0].place.due
}

type heapOf struct {
	items  []*item
	before func(a, b place) bool
}

func (h *heapOf) Len() int           { return len(h.items) }
func (h *heapOf) Less(i, j int) bool { return h.before(h.items[i].place, h.items[j].place) }
func (h *heapOf) Swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.items[i].index, h.items[j].index = i, j
}
func (h *heapOf) Push(x any) {
	it := x.(*item)
	it.heap, it.index = h, len(h.items)
	h.items = append(h.items, it)
}
func (h *heapOf) Pop() any {
	last := len(h.items) - 1
	it := h.items[last]
	it.heap = nil
	h.items = h.items[:last]
	return it
}
