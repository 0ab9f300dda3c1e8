package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gotenure/tenure/lock"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// recordsRoot is before all keys of this example, and not among Tenure's own.
const recordsRoot = "tenure-jobscheduler/"

// errOvertaken is returned when etcd refused a record because the lock had passed on.
var errOvertaken = errors.New("refused by etcd: the lock has passed on")

// A job is due at start and then once in each period. The n-th time is tick n, whoever runs it: a node that takes
// over in the middle of a period waits for the next tick instead of running one for the second time.
//
// Here all nodes have one clock. Where they do not, two of them may disagree on which tick is due; a job that cannot
// bear that also compares, in the transaction below, that the tick's key does not exist yet.
type job struct {
	prefix string // of the records' keys
	start  time.Time
	period time.Duration
}

// A record is what a run leaves in etcd. A real job would write its result.
type record struct {
	Tick  int64  `json:"tick"`
	Node  string `json:"node"`
	Token int64  `json:"token"`
}

// key is the same for all nodes, so that a tick that was run twice is a key that was written twice.
func (j job) key(tick int64) string { return fmt.Sprintf("%s%08d", j.prefix, tick) }

// next returns the first tick that is not due yet, and in how long it will be.
func (j job) next() (tick int64, in time.Duration) {
	elapsed := time.Since(j.start)
	tick = int64(elapsed/j.period) + 1
	return tick, time.Duration(tick)*j.period - elapsed
}

// schedule runs each tick when it is due, as long as ctx lives, and reports how each went.
func (j job) schedule(ctx context.Context, run func(tick int64) error, report func(tick int64, err error)) {
	for {
		tick, in := j.next()
		select {
		case <-time.After(in):
			if ctx.Err() != nil {
				return // both were ready
			}
			report(tick, run(tick))
		case <-ctx.Done():
			return
		}
	}
}

// run does the work of one tick and writes its record, in a transaction that commits only while the lock is held.
// The guard is what makes this safe: ctx ends when the lock is lost, but a request that is on its way by then may
// reach etcd much later.
//
// An error other than errOvertaken leaves open whether the record was written.
func (j job) run(ctx context.Context, client *clientv3.Client, r record, held *lock.Held) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the record: %w", err)
	}
	resp, err := client.Txn(ctx).
		If(held.Guard()...).
		Then(clientv3.OpPut(j.key(r.Tick), string(value))).
		Commit()
	switch {
	case err != nil:
		return fmt.Errorf("write the record: %w", err)
	case !resp.Succeeded:
		return errOvertaken
	}
	return nil
}
