package main

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// An event is what a node tells about itself.
type event struct {
	at   time.Time
	node *node
	what what

	token int64            // holds, ran, retried, stopped
	tick  int64            // ran, retried
	err   error            // ran, retried: why the tick was not confirmed; stopped: why the lock was lost
	epoch uint64           // leased
	lease clientv3.LeaseID // leased
}

type what int

const (
	leased  what = iota // the session has a new lease
	holds               // the node holds the lock and begins to work
	ran                 // a tick was run, and confirmed by etcd unless err says why not
	stopped             // the node was told that it lost the lock, and its work has ended
	retried             // a tick was run again that had not been answered before the lock was lost
)
