package leaderworker

import (
	"context"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Shard is what Work is called with: a shard that this worker owns. It is
// safe for concurrent use. Once the shard is lost or released it stays so; if
// the worker gets it again, Work is called with another one.
type Shard struct {
	name string
	hold *hold
}

// Name returns the shard's name.
func (s Shard) Name() string { return s.name }

// Number returns the number of a shard of Numbered, and -1 for any other.
func (s Shard) Number() int {
	if n, err := strconv.Atoi(s.name); err == nil && n >= 0 && strconv.Itoa(n) == s.name {
		return n
	}
	return -1
}

// Token is the fencing token: whoever owns the shard later has a larger one. A
// store that remembers the largest token it has seen for a shard, and refuses
// smaller ones, cannot be written by an owner that was overtaken. It is the
// create revision of the owner key; shards that were claimed together have the
// same.
func (s Shard) Token() int64 { return s.hold.revision }

// Context is cancelled when the shard is no longer owned: lost, and then before
// etcd can give it to somebody else, or released after Work has returned. Its
// cause matches ErrLost or ErrReleased.
//
// Work's own context ends earlier if the shard is revoked. A step that must not
// be torn off then, such as a last commit of what was done, can use this one.
func (s Shard) Context() context.Context { return s.hold.owned }

// Valid tells whether the shard is certainly still owned. It does no I/O, costs
// a reading of the clock, and is right in the first instruction after the
// process was stopped or suspended. Once false it stays false.
func (s Shard) Valid() bool { return s.hold.Valid() }

// Remaining is how long the shard is certainly owned if etcd is not heard of
// again; zero once Valid is false.
func (s Shard) Remaining() time.Duration { return s.hold.Remaining() }

// Guard returns the comparisons that hold while the shard is owned, for the If
// of a transaction: the transaction then commits only if nobody else owns the
// shard yet, whatever clocks and networks did meanwhile.
func (s Shard) Guard() []clientv3.Cmp { return []clientv3.Cmp{s.hold.guard()} }

// Key is the owner key in etcd.
func (s Shard) Key() string { return s.hold.key }
