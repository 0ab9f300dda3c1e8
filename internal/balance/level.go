package balance

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// slack keeps rounding errors of the targets from looking like a difference.
const slack = 1e-6

// placeAll seats what is nowhere: the choosiest kinds first, then the heaviest
// shards, each where there is most too little. It tells whether it
// seated any.
func (b *board) placeAll() (seated bool) {
	var nowhere []int
	for i, w := range b.at {
		if w == NoRoom {
			nowhere = append(nowhere, i)
		}
	}
	slices.SortStableFunc(nowhere, func(x, y int) int {
		kx, ky := &b.kinds[b.kindOf[x]], &b.kinds[b.kindOf[y]]
		return cmp.Or(cmp.Compare(len(kx.fits), len(ky.fits)), cmp.Compare(ky.weight, kx.weight))
	})
	for _, i := range nowhere {
		if w, ok := b.neediest(b.kindOf[i]); ok {
			b.put(i, w)
			seated = true
			continue
		}
		seated = b.makeRoom(i) || seated
	}
	return seated
}

// neediest is the worker with room that is furthest below its target.
func (b *board) neediest(kind int) (worker int, ok bool) {
	k := &b.kinds[kind]
	for _, w := range k.fits {
		if s := &b.seats[w]; s.room(k.weight) && (!ok || s.deviation() < b.seats[worker].deviation()-slack) {
			worker, ok = w, true
		}
	}
	return worker, ok
}

// makeRoom seats a shard whose workers are all full, if one of them can pass a
// shard of the same weight on.
func (b *board) makeRoom(shard int) bool {
	k := &b.kinds[b.kindOf[shard]]
	t := b.newTrails(k.weight)
	for _, w := range k.fits {
		t.reach(w, step{from: -1})
	}
	end, ok := t.find(func(int) bool { return true })
	if ok {
		b.put(shard, b.follow(t, end))
	}
	return ok
}

// level makes steps that make the board more even until there is none left:
// from whoever has most too much, if nobody can be helped from there from the
// next one.
func (b *board) level() {
	order := make([]int, 0, len(b.seats))
	for i, w := range b.workers {
		if !w.Frozen {
			order = append(order, i)
		}
	}
	for moved := true; moved; {
		slices.SortStableFunc(order, func(x, y int) int {
			return cmp.Compare(b.seats[y].deviation(), b.seats[x].deviation())
		})
		moved = slices.ContainsFunc(order, b.relieve)
	}
}

// relieve makes one step away from a worker, and tells whether there is one.
func (b *board) relieve(from int) bool {
	for _, weight := range b.weightsOf(from) {
		t := b.newTrails(weight)
		t.reach(from, step{from: -1})
		// The step must make the two ends more even; those in between give as
		// much as they get.
		enough := b.seats[from].deviation() - float64(weight) - slack
		if end, ok := t.find(func(w int) bool { return b.seats[w].deviation() < enough }); ok {
			b.follow(t, end)
			return true
		}
	}
	return false
}

// weightsOf are the weights of a worker's shards that a step may have, the one
// that would help most first: the nearest to half of the greatest difference.
func (b *board) weightsOf(worker int) []int64 {
	lowest := b.seats[worker].deviation()
	for i, w := range b.workers {
		if !w.Frozen {
			lowest = min(lowest, b.seats[i].deviation())
		}
	}
	apart := b.seats[worker].deviation() - lowest
	weights := make(map[int64]bool)
	for k := range b.seats[worker].has {
		if weight := b.kinds[k].weight; float64(weight) < apart-slack {
			weights[weight] = true
		}
	}
	far := func(weight int64) float64 { return math.Abs(float64(weight) - apart/2) }
	return slices.SortedFunc(maps.Keys(weights), func(x, y int64) int {
		return cmp.Or(cmp.Compare(far(x), far(y)), cmp.Compare(x, y))
	})
}
