package leaderworker

import (
	"maps"
	"slices"
)

// A phase is where a worker stands with one shard.
type phase int

const (
	wanted    phase = iota // assigned, but the worker is not a member at present
	claiming               // the transaction that creates the owner key is under way
	waiting                // another owner's key is still there
	working                // owned, and Work runs
	draining               // Work was told to stop and has not returned
	releasing              // the owner key is being deleted
)

var phaseNames = [...]string{"wanted", "claiming", "waiting", "working", "draining", "releasing"}

func (p phase) String() string { return phaseNames[p] }

// A verb is something that a desk wants done. Each is answered by one call,
// sooner or later.
type verb int

const (
	doClaim   verb = iota // create the owner key: Claimed, Taken or Failed
	doAwait               // until the other owner's key is gone: Gone
	doForget              // stop waiting: not answered, and Gone may still come
	doStart               // run Work: Returned
	doStop                // tell Work to stop: Returned, which is still to come
	doRelease             // delete the owner key: Released
	doReport              // say that Work does not return: not answered
)

var verbNames = [...]string{"claim", "await", "forget", "start", "stop", "release", "report"}

// An order is a verb for a shard. Revision is that of the owner key that it is
// about.
type order struct {
	do       verb
	shard    string
	revision int64
}

// A desk is what a worker decides about its shards: which to claim, to work on
// and to give up. It has no I/O, no goroutine and no clock.
//
//	              assigned            claimed              revoked             returned
//	absent ──▶ wanted ─▶ claiming ──────────────▶ working ─────────▶ draining ─────────▶ releasing
//	   ▲                  │    ▲                     │ lost             ▲                    │
//	   │            taken ▼    │ gone                ╰──────────────────╯ (then there is     │
//	   │                 waiting                                            nothing to       │
//	   ╰── unless it is assigned again ◀──────────────────────────────────── release) ───────╯
//
// The rule that the whole package stands on: an owner key is deleted only when
// Work has returned, and Work starts only when the key is there.
type desk struct {
	member bool // claims are possible
	shards map[string]*handoff
}

// A handoff is one shard's place in the picture above.
type handoff struct {
	phase    phase
	assigned bool
	revision int64 // of the owner key while there is one
	lost     bool  // the key is gone, or goes with its lease
	reported bool
}

func newDesk() *desk { return &desk{shards: make(map[string]*handoff)} }

// Assign takes in which shards the worker is to own: those, and no others.
func (d *desk) Assign(set map[string]bool) []order {
	var orders []order
	for _, shard := range slices.Sorted(maps.Keys(set)) {
		h := d.shards[shard]
		if h == nil {
			h = &handoff{phase: wanted}
			d.shards[shard] = h
			orders = append(orders, d.claim(shard, h)...)
		}
		h.assigned = true
	}
	for _, shard := range slices.Sorted(maps.Keys(d.shards)) {
		if h := d.shards[shard]; h.assigned && !set[shard] {
			h.assigned = false
			orders = append(orders, d.revoke(shard, h)...)
		}
	}
	return orders
}

func (d *desk) revoke(shard string, h *handoff) []order {
	switch h.phase {
	case wanted:
		delete(d.shards, shard)
	case waiting:
		delete(d.shards, shard)
		return []order{{do: doForget, shard: shard}}
	case working:
		h.phase = draining
		return []order{{do: doStop, shard: shard, revision: h.revision}}
	}
	return nil // claiming and releasing end by themselves
}

// claim orders the claim of a shard that is wanted, if the worker is a member.
func (d *desk) claim(shard string, h *handoff) []order {
	if !d.member {
		return nil
	}
	h.phase = claiming
	return []order{{do: doClaim, shard: shard}}
}

// Join says that the worker is a member, and can claim.
func (d *desk) Join() []order {
	d.member = true
	var orders []order
	for _, shard := range slices.Sorted(maps.Keys(d.shards)) {
		if h := d.shards[shard]; h.phase == wanted {
			orders = append(orders, d.claim(shard, h)...)
		}
	}
	return orders
}

// Part says that the worker is no member any more. What it owned is lost as
// well if its lease is: Lost says so for each shard.
func (d *desk) Part() { d.member = false }

// Claimed says that the owner key was created.
func (d *desk) Claimed(shard string, revision int64) []order {
	h := d.shards[shard]
	h.revision = revision
	if !h.assigned {
		h.phase = releasing
		return []order{{do: doRelease, shard: shard, revision: revision}}
	}
	h.phase = working
	return []order{{do: doStart, shard: shard, revision: revision}}
}

// Taken says that another owner's key was there.
func (d *desk) Taken(shard string) []order {
	h := d.shards[shard]
	if !h.assigned {
		delete(d.shards, shard)
		return nil
	}
	h.phase = waiting
	return []order{{do: doAwait, shard: shard}}
}

// Failed says that a claim came to nothing because the membership has ended.
func (d *desk) Failed(shard string) []order { return d.again(shard) }

// Gone says that the other owner's key is gone.
func (d *desk) Gone(shard string) []order {
	h := d.shards[shard]
	if h == nil || h.phase != waiting {
		return nil // it was forgotten meanwhile
	}
	return d.again(shard)
}

// Lost says that the owner key of that revision is gone, or goes with its
// lease.
func (d *desk) Lost(shard string, revision int64) []order {
	h := d.shards[shard]
	if h == nil || h.revision != revision {
		return nil // it was released meanwhile
	}
	h.lost = true
	if h.phase != working {
		return nil
	}
	h.phase = draining
	return []order{{do: doStop, shard: shard, revision: revision}}
}

// Returned says that Work has returned, because it was told to stop or because
// its context ended with the lease.
func (d *desk) Returned(shard string) []order {
	h := d.shards[shard]
	if h.lost {
		return d.again(shard)
	}
	h.phase = releasing
	return []order{{do: doRelease, shard: shard, revision: h.revision}}
}

// Released says that the owner key is gone.
func (d *desk) Released(shard string) []order { return d.again(shard) }

// again begins anew with a shard of which nothing is left, or ends with it.
func (d *desk) again(shard string) []order {
	assigned := d.shards[shard].assigned
	if !assigned {
		delete(d.shards, shard)
		return nil
	}
	h := &handoff{phase: wanted, assigned: true}
	d.shards[shard] = h
	return d.claim(shard, h)
}

// Late says that Work has had its time to return since it was told to stop.
func (d *desk) Late(shard string, revision int64) []order {
	h := d.shards[shard]
	if h == nil || h.phase != draining || h.revision != revision || h.reported {
		return nil
	}
	h.reported = true
	return []order{{do: doReport, shard: shard, revision: revision}}
}

// Idle tells whether nothing is owned, claimed or waited for.
func (d *desk) Idle() bool { return len(d.shards) == 0 }

// Overdue are the shards whose Work was reported and has not returned.
func (d *desk) Overdue() []string {
	var overdue []string
	for shard, h := range d.shards {
		if h.reported && h.phase == draining {
			overdue = append(overdue, shard)
		}
	}
	slices.Sort(overdue)
	return overdue
}
