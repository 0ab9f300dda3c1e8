package leaderworker

import (
	"encoding/json"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
)

// A view is a pool as etcd has it at one revision. It has no I/O.
type view struct {
	pool     keys.Pool
	revision int64
	members  map[string]member     // by worker
	assigned map[string]assignment // by worker
	owners   map[string]owner      // by shard
	plan     planRecord
	planMod  int64 // the plan's mod revision, 0 if there is none
	leaders  map[string]*mvccpb.KeyValue
}

type member struct {
	memberRecord
	lease clientv3.LeaseID
}

type assignment struct {
	assignedRecord
	mod int64
}

type owner struct {
	ownerRecord
	lease  clientv3.LeaseID
	create int64
}

func newView(pool keys.Pool) *view {
	return &view{
		pool:     pool,
		members:  make(map[string]member),
		assigned: make(map[string]assignment),
		owners:   make(map[string]owner),
		leaders:  make(map[string]*mvccpb.KeyValue),
	}
}

// apply takes a change in. A value that cannot be read stands for nothing, but
// its key is there: an owner key that somebody else wrote still is one.
func (v *view) apply(ev *clientv3.Event) {
	v.revision = max(v.revision, ev.Kv.ModRevision)
	if ev.Type == clientv3.EventTypeDelete {
		v.remove(string(ev.Kv.Key))
		return
	}
	v.put(ev.Kv)
}

func (v *view) put(kv *mvccpb.KeyValue) {
	key := string(kv.Key)
	kind, name, ok := v.pool.Parse(key)
	if !ok {
		switch {
		case key == v.pool.Plan():
			v.plan, v.planMod = planRecord{}, kv.ModRevision
			_ = json.Unmarshal(kv.Value, &v.plan)
		case strings.HasPrefix(key, v.pool.Leader()+"/"):
			v.leaders[key] = kv
		}
		return
	}
	switch kind {
	case keys.Members:
		m := member{lease: clientv3.LeaseID(kv.Lease)}
		if json.Unmarshal(kv.Value, &m.memberRecord) == nil {
			v.members[name] = m
		}
	case keys.Assigned:
		a := assignment{mod: kv.ModRevision}
		_ = json.Unmarshal(kv.Value, &a.assignedRecord)
		v.assigned[name] = a
	case keys.Owners:
		o := owner{lease: clientv3.LeaseID(kv.Lease), create: kv.CreateRevision}
		_ = json.Unmarshal(kv.Value, &o.ownerRecord)
		v.owners[name] = o
	}
}

func (v *view) remove(key string) {
	kind, name, ok := v.pool.Parse(key)
	if !ok {
		if key == v.pool.Plan() {
			v.plan, v.planMod = planRecord{}, 0
		}
		delete(v.leaders, key)
		return
	}
	switch kind {
	case keys.Members:
		delete(v.members, name)
	case keys.Assigned:
		delete(v.assigned, name)
	case keys.Owners:
		delete(v.owners, name)
	}
}

// present tells whether a worker is a member that stays.
func (v *view) present(worker string) bool {
	m, ok := v.members[worker]
	return ok && !m.Leaving
}

// leader is the worker that leads: what the election's first key proclaims.
func (v *view) leader() string {
	var first *mvccpb.KeyValue
	for _, kv := range v.leaders {
		if first == nil || kv.CreateRevision < first.CreateRevision {
			first = kv
		}
	}
	if first == nil {
		return ""
	}
	return string(first.Value)
}
