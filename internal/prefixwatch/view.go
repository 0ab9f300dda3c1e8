package prefixwatch

import (
	"cmp"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A view is what has been reported of the keys so far. It has no I/O.
type view struct {
	keys   map[string]seen
	noPuts bool // puts behind the last snapshot are not reported
}

type seen struct{ create, mod int64 }

func newView(noPuts bool) *view { return &view{keys: make(map[string]seen), noPuts: noPuts} }

// apply takes a reported event in.
func (v *view) apply(ev *clientv3.Event) {
	if ev.Type == clientv3.EventTypeDelete {
		delete(v.keys, string(ev.Kv.Key))
		return
	}
	v.keys[string(ev.Kv.Key)] = seen{create: ev.Kv.CreateRevision, mod: ev.Kv.ModRevision}
}

// replace makes the view that of a snapshot taken at revision rev, and returns
// the events that lead there, in revision order. A key that has vanished
// counts as deleted at rev, the latest it can have been.
func (v *view) replace(kvs []*mvccpb.KeyValue, rev int64) []*clientv3.Event {
	var events []*clientv3.Event
	next := make(map[string]seen, len(kvs))
	for _, kv := range kvs {
		now := seen{create: kv.CreateRevision, mod: kv.ModRevision}
		next[string(kv.Key)] = now
		if v.keys[string(kv.Key)] != now {
			events = append(events, &clientv3.Event{Type: clientv3.EventTypePut, Kv: kv})
		}
	}
	for key := range v.keys {
		if _, ok := next[key]; !ok {
			events = append(events, &clientv3.Event{
				Type: clientv3.EventTypeDelete,
				Kv:   &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev},
			})
		}
	}
	slices.SortFunc(events, func(a, b *clientv3.Event) int {
		return cmp.Or(cmp.Compare(a.Kv.ModRevision, b.Kv.ModRevision), cmp.Compare(string(a.Kv.Key), string(b.Kv.Key)))
	})
	v.keys = next
	return events
}

// behind tells whether a snapshot shows something that the events have not
// reported. Without puts, only keys that are gone or were made anew count.
func (v *view) behind(kvs []*mvccpb.KeyValue) bool {
	found := 0
	for _, kv := range kvs {
		known, ok := v.keys[string(kv.Key)]
		switch {
		case ok && known.create == kv.CreateRevision && (v.noPuts || known.mod == kv.ModRevision):
			found++
		case !v.noPuts || ok:
			return true
		}
	}
	return found != len(v.keys)
}
