package leaderworker

import (
	"maps"
	"time"
)

// gather is how long the leader waits for more workers when one has come, so
// that workers that start together share the shards from the beginning.
const gather = 100 * time.Millisecond

// A planner decides, from one view of the pool after the other, what the leader
// writes. It has no I/O and no clock; what it remembers is only since when
// things are so.
type planner struct {
	maxMoves int
	grace    time.Duration

	begun   bool
	known   map[string]memberRecord // who was last seen as a member, and how
	missing map[string]time.Time    // who has shards and is no member: until when they are kept
	waiting time.Time               // until when more workers may come, if not zero
}

func newPlanner(maxMoves int, grace time.Duration) *planner {
	return &planner{
		maxMoves: maxMoves, grace: grace,
		known: make(map[string]memberRecord), missing: make(map[string]time.Time),
	}
}

// A decision is what the leader is to write.
type decision struct {
	changes []change
	plan    planRecord
	moves   int       // how many shards are taken from a worker that is there
	wake    time.Time // when to decide again even if nothing happens; zero: never
}

// A change is one worker's new assignment, in place of the one of that mod
// revision. Without shards the key is deleted.
type change struct {
	worker string
	mod    int64
	gains  bool // there are shards among them that it did not have
	assignedRecord
}

// decide returns what is to be written at this view. The set is in the order of
// the names.
func (p *planner) decide(v *view, set []ShardSpec, now time.Time) decision {
	p.notice(v, now)
	if now.Before(p.waiting) {
		return decision{plan: v.plan, wake: p.waiting}
	}
	p.waiting = time.Time{}
	s := p.survey(v, set, now)
	s.limit(p.maxMoves)
	return decision{changes: s.changes(now), plan: s.account(), moves: s.moves, wake: p.wake(now)}
}

// notice remembers who came and who is missing.
func (p *planner) notice(v *view, now time.Time) {
	fresh := false
	for worker, m := range v.members {
		_, known := p.known[worker]
		fresh = fresh || !known
		p.known[worker] = m.memberRecord
		delete(p.missing, worker)
	}
	// A leader that takes over finds assignments, and has nobody to wait for.
	if fresh && (p.begun || len(v.assigned) == 0) && p.waiting.IsZero() {
		p.waiting = now.Add(gather)
	}
	p.begun = true
	for worker := range v.assigned {
		if _, member := v.members[worker]; member || !p.missing[worker].IsZero() {
			continue
		}
		p.missing[worker] = now.Add(p.grace)
		if p.known[worker].Leaving {
			p.missing[worker] = now
		}
	}
	gone := func(worker string) bool {
		_, member := v.members[worker]
		_, assigned := v.assigned[worker]
		return !member && !assigned
	}
	maps.DeleteFunc(p.missing, func(worker string, _ time.Time) bool { return gone(worker) })
	maps.DeleteFunc(p.known, func(worker string, _ memberRecord) bool { return gone(worker) })
}

// awaited tells whether a worker is missing and its shards are kept for it.
func (p *planner) awaited(worker string, now time.Time) bool { return now.Before(p.missing[worker]) }

// wake is the first instant at which a grace ends.
func (p *planner) wake(now time.Time) (first time.Time) {
	for _, until := range p.missing {
		if now.Before(until) && (first.IsZero() || until.Before(first)) {
			first = until
		}
	}
	return first
}
