package leaderworker

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/gotenure/tenure/internal/balance"
)

// A Reason says why a shard goes to a worker.
type Reason string

// Why shards move.
const (
	ReasonNew     Reason = "new"     // nobody had it
	ReasonLeft    Reason = "left"    // its worker leaves
	ReasonLost    Reason = "lost"    // its worker is gone, and has not come back in time
	ReasonBalance Reason = "balance" // its worker has more than its share, or than it takes
	ReasonLabels  Reason = "labels"  // its worker does not have the labels
)

// Why shards have no worker.
const (
	UnplacedLabels = "no worker has the labels"
	UnplacedRoom   = "no worker with the labels has room"
	UnplacedAlone  = "there is no worker"
)

// maxUnplaced is how many shards without a worker the plan names.
const maxUnplaced = 100

// A survey is one decision in the making: where each shard was assigned, and
// where it is to be.
type survey struct {
	view    *view
	set     []ShardSpec
	workers []balance.Worker
	index   map[string]int    // of the workers
	had     map[string]string // the worker that each shard was last assigned to, or else its owner
	shards  []balance.Shard
	to      []int
	moves   int
}

// survey finds out how things are, and where the shards belong.
func (p *planner) survey(v *view, set []ShardSpec, now time.Time) *survey {
	s := &survey{view: v, set: set, index: make(map[string]int), had: lastAssigned(v)}
	for _, worker := range slices.Sorted(maps.Keys(p.known)) {
		awaited := p.awaited(worker, now)
		if !awaited && !v.present(worker) {
			continue
		}
		r := p.known[worker]
		s.add(balance.Worker{Name: worker, Share: r.Share, Capacity: r.Capacity, Labels: r.Labels, Frozen: awaited})
	}
	// Whoever was missing already when this leader began: its shards fit.
	for _, worker := range slices.Sorted(maps.Keys(p.missing)) {
		if _, known := p.known[worker]; !known && p.awaited(worker, now) {
			s.add(balance.Worker{Name: worker, Frozen: true})
		}
	}
	for _, spec := range set {
		at := s.had[spec.Name]
		if i, ok := s.index[at]; ok && s.workers[i].Frozen {
			spec.Require = nil
		}
		s.shards = append(s.shards, balance.Shard{
			Name: spec.Name, Weight: spec.Weight, Require: spec.Require,
			At: at, Settled: v.owners[spec.Name].Worker == at,
		})
	}
	s.to = balance.Assign(s.workers, s.shards)
	return s
}

func (s *survey) add(w balance.Worker) {
	s.index[w.Name] = len(s.workers)
	s.workers = append(s.workers, w)
}

// lastAssigned is the worker of each shard. A leader that failed between two
// transactions leaves shards that are assigned twice: then the owner counts.
func lastAssigned(v *view) map[string]string {
	had := make(map[string]string)
	for _, worker := range slices.Sorted(maps.Keys(v.assigned)) {
		for _, shard := range v.assigned[worker].Shards {
			if had[shard] == "" || v.owners[shard].Worker == worker {
				had[shard] = worker
			}
		}
	}
	for shard, o := range v.owners {
		if had[shard] == "" {
			had[shard] = o.Worker
		}
	}
	return had
}

// limit takes moves back until no more than so many shards are between two
// workers that are there. Only shards that are well where they are can wait.
func (s *survey) limit(most int) {
	for _, spec := range s.set {
		if had := s.had[spec.Name]; s.view.owners[spec.Name].Worker != had && s.view.present(s.view.owners[spec.Name].Worker) {
			most-- // it is between two already
		}
	}
	var waiting []int // moves that can wait, by shard
	for i, sh := range s.shards {
		from, here := s.index[sh.At]
		if !here || s.to[i] == from || !sh.Settled {
			continue
		}
		s.moves++
		if s.to[i] >= 0 && balance.Fits(s.workers[from].Labels, sh.Require) {
			waiting = append(waiting, i)
		}
	}
	if most -= s.moves - len(waiting); most < len(waiting) {
		s.moves -= len(waiting)
		s.moves += s.choose(waiting, max(0, most))
	}
}

// choose lets so many of the waiting moves happen, and returns how many. A worker
// that is full gets a shard only after it has given one.
func (s *survey) choose(waiting []int, most int) (chosen int) {
	to := slices.Clone(s.to)
	load := make([]int, len(s.workers))
	for _, i := range waiting {
		s.to[i] = s.index[s.shards[i].At]
	}
	for i, w := range s.to {
		if w >= 0 {
			load[w] += max(s.shards[i].Weight, 1)
		}
	}
	move := func(i int) {
		weight := max(s.shards[i].Weight, 1)
		load[s.to[i]] -= weight
		load[to[i]] += weight
		s.to[i] = to[i]
		chosen++
	}
	for again := true; again && chosen < most; {
		again = false
		waiting = slices.DeleteFunc(waiting, func(i int) bool {
			limit := s.workers[to[i]].Capacity
			if chosen == most || limit > 0 && load[to[i]]+max(s.shards[i].Weight, 1) > limit {
				return false
			}
			move(i)
			again = true
			return true
		})
	}
	if chosen == 0 && most > 0 && len(waiting) > 0 {
		move(waiting[0]) // full workers that want to exchange shards: one has to begin
	}
	return chosen
}

// changes are the assignments that differ, those that gain first: if the leader
// fails between two transactions a shard is assigned twice, not to nobody.
func (s *survey) changes(now time.Time) []change {
	lists := make([][]string, len(s.workers))
	for i, spec := range s.set {
		if w := s.to[i]; w >= 0 {
			lists[w] = append(lists[w], spec.Name)
		}
	}
	var changes []change
	for i, w := range s.workers {
		if c, differs := s.change(w.Name, lists[i], now); differs {
			changes = append(changes, c)
		}
	}
	for worker, a := range s.view.assigned {
		if _, known := s.index[worker]; !known {
			changes = append(changes, change{worker: worker, mod: a.mod})
		}
	}
	slices.SortFunc(changes, func(a, b change) int {
		if a.gains != b.gains {
			if a.gains {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.worker, b.worker)
	})
	return changes
}

// change is a worker's new assignment, and whether it is another one.
func (s *survey) change(worker string, shards []string, now time.Time) (change, bool) {
	old := s.view.assigned[worker]
	if slices.Equal(old.Shards, shards) {
		return change{}, false
	}
	c := change{worker: worker, mod: old.mod, assignedRecord: assignedRecord{Shards: shards}}
	had := make(map[string]bool, len(old.Shards))
	for _, shard := range old.Shards {
		had[shard] = true
	}
	type cause struct {
		from string
		why  Reason
	}
	fresh := make(map[cause]int)
	for _, shard := range shards {
		if had[shard] {
			continue
		}
		c.gains = true
		why := cause{from: s.had[shard]}
		why.why = s.why(shard, why.from)
		i, ok := fresh[why]
		if !ok {
			i = len(c.Moves)
			fresh[why] = i
			c.Moves = append(c.Moves, moveRecord{From: why.from, Why: why.why, Since: stamp(now)})
		}
		c.Moves[i].Shards = append(c.Moves[i].Shards, shard)
	}
	c.Moves = append(c.Moves, s.goingOn(worker, old, shards)...)
	return c, len(shards) > 0 || old.mod > 0
}

// goingOn are the moves of an assignment that have not come to their end.
func (s *survey) goingOn(worker string, old assignment, shards []string) []moveRecord {
	var moves []moveRecord
	for _, m := range old.Moves {
		m.Shards = slices.DeleteFunc(slices.Clone(m.Shards), func(shard string) bool {
			_, still := slices.BinarySearch(shards, shard)
			return !still || s.view.owners[shard].Worker == worker
		})
		if len(m.Shards) > 0 {
			moves = append(moves, m)
		}
	}
	return moves
}

// why says for what reason a shard leaves the worker that had it.
func (s *survey) why(shard, from string) Reason {
	m, member := s.view.members[from]
	switch i, found := slices.BinarySearchFunc(s.set, shard, byName); {
	case from == "":
		return ReasonNew
	case member && m.Leaving:
		return ReasonLeft
	case !member:
		return ReasonLost
	case found && !balance.Fits(m.Labels, s.set[i].Require):
		return ReasonLabels
	}
	return ReasonBalance
}

func byName(s ShardSpec, name string) int { return cmp.Compare(s.Name, name) }

// account is what the leader says about the whole.
func (s *survey) account() planRecord {
	plan := planRecord{Shards: len(s.set)}
	for i, spec := range s.set {
		if s.to[i] >= 0 {
			continue
		}
		if len(plan.Unplaced) == maxUnplaced {
			plan.More++
			continue
		}
		why := UnplacedLabels
		switch {
		case len(s.workers) == 0:
			why = UnplacedAlone
		case s.to[i] == balance.NoRoom:
			why = UnplacedRoom
		}
		plan.Unplaced = append(plan.Unplaced, Unplaced{Shard: spec.Name, Why: why})
	}
	return plan
}
