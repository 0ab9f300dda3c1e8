package barrier

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A member is a party's key as etcd has it.
type member struct {
	presence
	create, mod int64
}

// members are the parties' keys as they are now, by name.
type members map[string]member

func (m members) apply(ev *clientv3.Event) {
	if ev.Type == clientv3.EventTypeDelete {
		delete(m, string(ev.Kv.Key))
		return
	}
	m.add(ev.Kv)
}

func (m members) add(kv *mvccpb.KeyValue) {
	p := decode[presence](kv)
	p.Key = string(kv.Key)
	m[p.Key] = member{presence: p, create: kv.CreateRevision, mod: kv.ModRevision}
}

// has tells whether the key is there and the one that was created then.
func (m members) has(key string, create int64) bool {
	now, ok := m[key]
	return ok && now.create == create
}

// sorted returns the members in the order in which they came.
func (m members) sorted() []member {
	return slices.SortedFunc(maps.Values(m), func(a, b member) int {
		return cmp.Or(cmp.Compare(a.create, b.create), strings.Compare(a.Key, b.Key))
	})
}

// A decision is what the keeper of a gate has to do. If neither field is set,
// it has to wait.
type decision struct {
	open []member  // everybody is there: these pass
	gone *presence // this one is not there any more
}

// A judge decides for the keeper of a gate. It is shown the members again and
// again, and has no I/O.
type judge interface {
	judge(now members) decision
}

// An entrance waits for so many parties that come while the gate is there.
type entrance struct {
	gate    int64 // its create revision
	parties int

	arrived []member // in order, those of them that are not gone
}

// judge wants the first parties that came, all of them alive to the end. Those
// of a gate before, who have not gone yet, must go first: their keys tell them
// what became of it.
func (e *entrance) judge(now members) decision {
	for i := 0; i < len(e.arrived); i++ {
		m := e.arrived[i]
		switch {
		case now.has(m.Key, m.create):
		case i < e.parties:
			return decision{gone: &m.presence}
		default: // one too many
			e.arrived = slices.Delete(e.arrived, i, i+1)
			i--
		}
	}
	settled := true
	for _, m := range now.sorted() {
		switch {
		case m.create < e.gate:
			settled = false
		case m.Parties != e.parties, e.knows(m):
		default:
			e.arrived = append(e.arrived, m)
		}
	}
	if settled && len(e.arrived) >= e.parties {
		return decision{open: e.arrived[:e.parties]}
	}
	return decision{}
}

func (e *entrance) knows(m member) bool {
	return slices.ContainsFunc(e.arrived, func(a member) bool { return a.Key == m.Key && a.create == m.create })
}

// An exit waits for all who are inside.
type exit struct {
	inside []entered
}

func (e *exit) judge(now members) decision {
	all := make([]member, 0, len(e.inside))
	here := true
	for _, k := range e.inside {
		if !now.has(k.Key, k.Create) {
			return decision{gone: &presence{Party: k.Party, Key: k.Key}}
		}
		m := now[k.Key]
		here = here && m.Leaving
		all = append(all, m)
	}
	if here {
		return decision{open: all}
	}
	return decision{}
}
