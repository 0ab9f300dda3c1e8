package barrier

import (
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A holdRecord is the value of the record of a Barrier. It is replaced as a
// whole, in transactions that compare its mod revision.
type holdRecord struct {
	Held       bool   `json:"held"`
	Persistent bool   `json:"persistent,omitempty"`
	By         Party  `json:"by"`                 // who holds, or held last
	Key        string `json:"key,omitempty"`      // of the holder, on its lease
	Releases   int64  `json:"releases,omitempty"` // how many there were
}

// A holdView is what is known of a Barrier. It has no I/O.
type holdView struct {
	record holdRecord
	mod    int64            // the record's mod revision; 0: it was never held
	keys   map[string]int64 // the holders' keys that are there: their create revisions
}

func newHoldView() holdView { return holdView{keys: map[string]int64{}} }

func (v *holdView) set(site site, kv *mvccpb.KeyValue) {
	if string(kv.Key) == site.holdRecord() {
		v.record, v.mod = decode[holdRecord](kv), kv.ModRevision
		return
	}
	v.keys[string(kv.Key)] = kv.CreateRevision
}

func (v *holdView) apply(site site, ev *clientv3.Event) {
	switch {
	case ev.Type != clientv3.EventTypeDelete:
		v.set(site, ev.Kv)
	case string(ev.Kv.Key) == site.holdRecord():
		v.record, v.mod = holdRecord{}, 0
	default:
		delete(v.keys, string(ev.Kv.Key))
	}
}

// A hold is how a Barrier stands.
type hold int

const (
	free     hold = iota
	held          // nobody passes
	orphaned      // the holder has died without a release
)

// standing says how the barrier stands. A hold on a lease is made together with
// the holder's key, and lasts as long as that.
func (v *holdView) standing() hold {
	switch {
	case !v.record.Held:
		return free
	case v.record.Persistent, v.keys[v.record.Key] == v.mod:
		return held
	}
	return orphaned
}

func (s site) holdRecord() string { return string(s) + "record" }
