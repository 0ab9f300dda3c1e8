package groupcommit

import (
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// maxTxns and maxOps are what etcd takes by default: 128 operations per
	// level, and a level of n leaves 128 - n for the one below.
	maxTxns = 64
	maxOps  = 64

	// maxBytes bounds the values of a batch of several. A request may have 1.5
	// MiB.
	maxBytes = 512 << 10
)

// A batch is a set of transactions that do not clash. It has no I/O.
type batch struct {
	requests []*request
	bytes    int
	alone    bool            // the one that is there leaves no room for others
	read     map[string]bool // keys that are compared or read
	ranges   []keyRange      // the same, more than one key each
	written  map[string]bool
}

func newBatch() *batch {
	return &batch{read: make(map[string]bool), written: make(map[string]bool)}
}

// add takes a request in, or returns false if it clashes with what is there
// or there is no room.
func (b *batch) add(r *request) bool {
	if len(b.requests) > 0 {
		if b.alone || r.txn.large() || len(b.requests) == maxTxns || b.bytes+r.txn.bytes() > maxBytes || b.clashes(r.txn) {
			return false
		}
	}
	b.alone = r.txn.large()
	b.requests = append(b.requests, r)
	b.bytes += r.txn.bytes()
	b.note(r)
	return true
}

// note remembers the keys of a request.
func (b *batch) note(r *request) {
	r.txn.each(func(t touch) bool {
		switch {
		case t.write:
			b.written[t.from] = true
		case t.to == "":
			b.read[t.from] = true
		default:
			b.ranges = append(b.ranges, t.keyRange)
		}
		return true
	})
}

// gather takes the next batch out of what is pending. What clashes with it
// waits for a later one and keeps its place: nothing that came after it and
// clashes with it overtakes it.
func gather(pending []*request) (next *batch, left []*request) {
	next, passed := newBatch(), newBatch()
	for i, r := range pending {
		if len(next.requests) == maxTxns {
			return next, append(left, pending[i:]...)
		}
		if passed.clashes(r.txn) || !next.add(r) {
			passed.note(r)
			left = append(left, r)
		}
	}
	return next, left
}

func (b *batch) clashes(txn Txn) bool {
	free := txn.each(func(t touch) bool {
		switch {
		case !t.write && t.to != "":
			for key := range b.written {
				if t.has(key) {
					return false
				}
			}
			return true
		case b.written[t.from]:
			return false
		case !t.write:
			return true
		}
		return !b.read[t.from] && !slices.ContainsFunc(b.ranges, func(r keyRange) bool { return r.has(t.from) })
	})
	return !free
}

// A keyRange is a range of keys as etcd has it: one key if to is empty, all
// from the first on if it is "\x00".
type keyRange struct{ from, to string }

func (r keyRange) has(key string) bool { return key >= r.from && (key < r.to || r.to == "\x00") }

// A touch is what a transaction does to a key, or a range of keys.
type touch struct {
	keyRange
	write bool // of a single key
}

// each calls f with everything that the transaction touches until f returns
// false, and tells whether it never did.
func (t Txn) each(f func(touch) bool) bool {
	for _, cmp := range t.If {
		c := cmp.GetCompare()
		if !f(touch{keyRange{string(c.GetKey()), string(c.GetRangeEnd())}, false}) {
			return false
		}
	}
	for _, ops := range [][]clientv3.Op{t.Then, t.Else} {
		for _, op := range ops {
			if op.IsTxn() {
				cmps, then, other := op.Txn()
				if !(Txn{cmps, then, other}).each(f) {
					return false
				}
				continue
			}
			if !f(touch{keyRange{string(op.KeyBytes()), string(op.RangeBytes())}, !op.IsGet()}) {
				return false
			}
		}
	}
	return true
}

// large tells whether a transaction has to go alone, because it has many
// operations, or others nested into it.
func (t Txn) large() bool {
	nested := func(op clientv3.Op) bool { return op.IsTxn() }
	return max(len(t.If), len(t.Then), len(t.Else)) > maxOps ||
		slices.ContainsFunc(t.Then, nested) || slices.ContainsFunc(t.Else, nested)
}

func (t Txn) bytes() int {
	n := 0
	for _, ops := range [][]clientv3.Op{t.Then, t.Else} {
		for _, op := range ops {
			n += len(op.KeyBytes()) + len(op.ValueBytes())
		}
	}
	return n
}
