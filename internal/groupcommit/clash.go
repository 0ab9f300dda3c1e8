package groupcommit

import clientv3 "go.etcd.io/etcd/client/v3"

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
	read     map[string]bool // keys that are compared or read
	written  map[string]bool
}

func newBatch() *batch {
	return &batch{read: make(map[string]bool), written: make(map[string]bool)}
}

// add takes a request in, or returns false if it clashes with what is there
// or there is no room.
func (b *batch) add(r *request) bool {
	if len(b.requests) > 0 {
		if len(b.requests) == maxTxns || r.txn.large() || b.bytes+r.txn.bytes() > maxBytes || b.clashes(r.txn) {
			return false
		}
	}
	b.requests = append(b.requests, r)
	b.bytes += r.txn.bytes()
	b.note(r)
	return true
}

// note remembers the keys of a request.
func (b *batch) note(r *request) {
	r.txn.eachKey(func(key string, write bool) bool {
		if write {
			b.written[key] = true
		} else {
			b.read[key] = true
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

func (b *batch) clashes(t Txn) bool {
	free := t.eachKey(func(key string, write bool) bool {
		return !b.written[key] && !(write && b.read[key])
	})
	return !free
}

// eachKey calls f with every key that the transaction touches until f returns
// false, and tells whether it never did.
func (t Txn) eachKey(f func(key string, write bool) bool) bool {
	for _, cmp := range t.If {
		if !f(string(cmp.KeyBytes()), false) {
			return false
		}
	}
	for _, ops := range [][]clientv3.Op{t.Then, t.Else} {
		for _, op := range ops {
			if !f(string(op.KeyBytes()), !op.IsGet()) {
				return false
			}
		}
	}
	return true
}

func (t Txn) large() bool { return max(len(t.If), len(t.Then), len(t.Else)) > maxOps }

func (t Txn) bytes() int {
	n := 0
	for _, ops := range [][]clientv3.Op{t.Then, t.Else} {
		for _, op := range ops {
			n += len(op.KeyBytes()) + len(op.ValueBytes())
		}
	}
	return n
}
