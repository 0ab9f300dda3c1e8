package balance

import (
	"maps"
	"slices"
	"strconv"
)

// A board is an assignment in the making.
type board struct {
	workers []Worker
	shards  []Shard
	at      []int // where each shard is
	kinds   []kind
	kindOf  []int // of each shard
	seats   []seat
}

// A kind is what shards have in common that can take each other's place: the
// weight, and the workers that they fit.
type kind struct {
	weight int64
	fits   []int // indices of workers, ascending; frozen ones are not among them
	home   []bool
}

// A seat is one worker's side of the board.
type seat struct {
	load   int64
	target float64
	limit  int64 // 0 is none
	// has are the shards by kind, in the order in which they would rather stay.
	has map[int][]int
}

func (s *seat) deviation() float64 { return float64(s.load) - s.target }

func (s *seat) room(weight int64) bool { return s.limit == 0 || s.load+weight <= s.limit }

func newBoard(workers []Worker, shards []Shard) *board {
	b := &board{
		workers: workers,
		shards:  shards,
		at:      make([]int, len(shards)),
		kindOf:  make([]int, len(shards)),
		seats:   make([]seat, len(workers)),
	}
	for i, w := range workers {
		b.seats[i] = seat{limit: int64(w.Capacity), has: make(map[int][]int)}
	}
	b.sortKinds()
	b.aim()
	b.seatAll()
	return b
}

// sortKinds finds the kind of each shard.
func (b *board) sortKinds() {
	type spec struct {
		weight  int64
		require string
	}
	known := make(map[spec]int)
	for i, s := range b.shards {
		id := spec{weight: int64(max(s.Weight, 1)), require: labelsText(s.Require)}
		k, ok := known[id]
		if !ok {
			k = len(b.kinds)
			known[id] = k
			b.kinds = append(b.kinds, b.newKind(id.weight, s.Require))
		}
		b.kindOf[i] = k
	}
}

func (b *board) newKind(weight int64, require map[string]string) kind {
	k := kind{weight: weight, home: make([]bool, len(b.workers))}
	for i, w := range b.workers {
		k.home[i] = Fits(w.Labels, require)
		if k.home[i] && !w.Frozen {
			k.fits = append(k.fits, i)
		}
	}
	return k
}

// labelsText is the same for equal labels and for no others.
func labelsText(labels map[string]string) string {
	if len(labels) == 0 {
		return ""
	}
	var text []byte
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		text = strconv.AppendQuote(text, name)
		text = strconv.AppendQuote(text, labels[name])
	}
	return string(text)
}

// aim sets the workers' targets: the whole weight by shares, but nobody's more
// than its capacity. What one cannot take raises the others' targets, so it
// goes round until nobody is above.
func (b *board) aim() {
	whole, shares := 0.0, 0.0
	for i := range b.shards {
		if k := &b.kinds[b.kindOf[i]]; slices.Contains(k.home, true) {
			whole += float64(k.weight)
		}
	}
	share := func(i int) float64 { return float64(max(b.workers[i].Share, 1)) }
	var open []int
	for i := range b.workers {
		open = append(open, i)
		shares += share(i)
	}
	for again := true; again; {
		again = false
		each := max(0, whole) / shares
		open = slices.DeleteFunc(open, func(i int) bool {
			limit := float64(b.seats[i].limit)
			if limit == 0 || each*share(i) <= limit {
				b.seats[i].target = each * share(i)
				return false
			}
			b.seats[i].target = limit
			whole -= limit
			shares -= share(i)
			again = true
			return true
		})
	}
}

// seatAll puts the shards where they are, as far as they fit. Whoever has more
// than its capacity keeps what is settled first.
func (b *board) seatAll() {
	index := make(map[string]int, len(b.workers))
	for i, w := range b.workers {
		index[w.Name] = i
	}
	order := make([]int, len(b.shards))
	for i := range order {
		order[i] = i
		b.at[i] = Unfit
	}
	slices.SortStableFunc(order, func(x, y int) int { return unsettledLast(&b.shards[x], &b.shards[y]) })
	for _, i := range order {
		k := b.kindOf[i]
		w, known := index[b.shards[i].At]
		switch {
		case !slices.Contains(b.kinds[k].home, true):
		case known && b.kinds[k].home[w] && (b.workers[w].Frozen || b.seats[w].room(b.kinds[k].weight)):
			b.put(i, w)
		default:
			b.at[i] = NoRoom
		}
	}
}

func unsettledLast(a, b *Shard) int {
	switch {
	case a.Settled == b.Settled:
		return 0
	case a.Settled:
		return -1
	}
	return 1
}

// put seats a shard that is nowhere.
func (b *board) put(shard, worker int) {
	k, s := b.kindOf[shard], &b.seats[worker]
	s.has[k] = append(s.has[k], shard)
	s.load += b.kinds[k].weight
	b.at[shard] = worker
}

// take unseats the shard of a kind that a worker would give away first.
func (b *board) take(kind, worker int) (shard int) {
	s := &b.seats[worker]
	last := len(s.has[kind]) - 1
	shard = s.has[kind][last]
	if s.has[kind] = s.has[kind][:last]; last == 0 {
		delete(s.has, kind)
	}
	s.load -= b.kinds[kind].weight
	b.at[shard] = NoRoom
	return shard
}
