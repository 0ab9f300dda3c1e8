package leaderworker

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
)

// A Pool is how a group of workers is at one moment.
type Pool struct {
	Revision int64 // of etcd
	// Leader is the worker that leads, "" if nobody does.
	Leader  string
	Workers []Worker
	// Shards are all that are assigned, owned or unplaced.
	Shards []ShardStatus
	// Moves are the shards that are on their way.
	Moves []Move
	// Unplaced are shards that no worker can have; at most 100 are named, and
	// More are not.
	Unplaced []Unplaced
	More     int
}

// A Worker is a member of a pool.
type Worker struct {
	Name     string
	Session  string
	Host     string
	PID      int
	Lease    clientv3.LeaseID
	Since    time.Time // by the clock of the worker's machine
	Share    int
	Capacity int // 0: no limit
	Labels   map[string]string
	// Leaving is set while it gives its shards up in order to leave.
	Leaving bool
	// Gone is set for a worker that is no member any more, but has shards that are
	// assigned to it, or owner keys.
	Gone     bool
	Assigned int // how many shards it is to own
	Owned    int // how many it owns
	// Overdue are shards whose Work was told to stop and does not return; at most
	// 100.
	Overdue []string
}

// A ShardStatus is a shard of a pool.
type ShardStatus struct {
	Name     string
	Assigned string // the worker that is to own it, or ""
	Owner    string // the worker that owns it, or ""
	Token    int64  // of the owner
	Since    time.Time
}

// A Move is a shard that is not yet where it belongs.
type Move struct {
	Shard string
	From  string // who owns it or had it, or ""
	To    string // "" if it is no longer among the shards, or if its worker lost it
	Why   Reason // "" if there is no record of it
	Since time.Time
	// Draining is set while From still owns it: its Work has not returned, or not
	// heard of it.
	Draining bool
}

// Unplaced is a shard that no worker can have.
type Unplaced struct {
	Shard string `json:"shard"`
	Why   string `json:"why"`
}

// Status returns how a pool is. It needs no session. The namespace "" is the
// default one. It costs one linearizable range of the whole pool.
func Status(ctx context.Context, client *clientv3.Client, namespace, name string) (Pool, error) {
	space, err := keys.NewSpace(cmp.Or(namespace, keys.DefaultNamespace))
	if err != nil {
		return Pool{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	pool, err := space.Pool(name)
	if err != nil {
		return Pool{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	resp, err := client.Get(ctx, string(pool), clientv3.WithPrefix())
	if err != nil {
		return Pool{}, fmt.Errorf("leaderworker: status of %q: %w", name, err)
	}
	v := newView(pool)
	for _, kv := range resp.Kvs {
		v.put(kv)
	}
	v.revision = resp.Header.Revision
	return v.status(), nil
}

// status puts a view into the words of the users.
func (v *view) status() Pool {
	p := Pool{Revision: v.revision, Leader: v.leader(), Unplaced: v.plan.Unplaced, More: v.plan.More}
	assigned := make(map[string]string)
	for worker, a := range v.assigned {
		for _, shard := range a.Shards {
			assigned[shard] = worker
		}
	}
	p.Workers = v.workers()
	names := make(map[string]bool)
	for shard := range assigned {
		names[shard] = true
	}
	for shard := range v.owners {
		names[shard] = true
	}
	for _, u := range v.plan.Unplaced {
		names[u.Shard] = true
	}
	causes := v.causes()
	for _, shard := range slices.Sorted(maps.Keys(names)) {
		o, to := v.owners[shard], assigned[shard]
		p.Shards = append(p.Shards, ShardStatus{Name: shard, Assigned: to, Owner: o.Worker, Token: o.create, Since: o.Since})
		if o.Worker == to && o.create > 0 || o.create == 0 && to == "" {
			continue
		}
		m := Move{Shard: shard, From: o.Worker, To: to, Draining: o.create > 0}
		if c, ok := causes[shard]; ok && to != "" {
			m.Why, m.Since = c.Why, c.Since
			m.From = cmp.Or(m.From, c.From)
		}
		p.Moves = append(p.Moves, m)
	}
	return p
}

// workers are the members, and those whose shards or keys are all that is left.
func (v *view) workers() []Worker {
	owned := make(map[string]int)
	for _, o := range v.owners {
		owned[o.Worker]++
	}
	names := make(map[string]bool)
	for worker := range v.members {
		names[worker] = true
	}
	for worker := range v.assigned {
		names[worker] = true
	}
	for worker := range owned {
		names[worker] = true
	}
	var workers []Worker
	for _, name := range slices.Sorted(maps.Keys(names)) {
		m, member := v.members[name]
		workers = append(workers, Worker{
			Name: name, Session: m.Session, Host: m.Host, PID: m.PID, Lease: m.lease, Since: m.Since,
			Share: m.Share, Capacity: m.Capacity, Labels: m.Labels, Leaving: m.Leaving, Gone: !member,
			Assigned: len(v.assigned[name].Shards), Owned: owned[name], Overdue: m.Overdue,
		})
	}
	return workers
}

// causes are the records of why shards were assigned, by shard.
func (v *view) causes() map[string]moveRecord {
	causes := make(map[string]moveRecord)
	for _, a := range v.assigned {
		for _, m := range a.Moves {
			for _, shard := range m.Shards {
				if m.Since.After(causes[shard].Since) {
					causes[shard] = m
				}
			}
		}
	}
	return causes
}
