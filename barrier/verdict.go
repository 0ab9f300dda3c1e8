package barrier

import (
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A view is what is known of a gate and of what was decided at it. It has no
// I/O.
type view struct {
	rev    int64 // everything up to here has been taken in
	record record
	mod    int64 // the record's mod revision; 0: nothing was ever decided
	gate   int64 // the gate's create revision; 0: there is none
	keeper presence
}

// apply takes an event in.
func (v *view) apply(site site, ev *clientv3.Event) {
	v.set(site, string(ev.Kv.Key), ev.Kv, ev.Type == clientv3.EventTypeDelete)
}

// supersede takes in a view that is not older: all of it, because what is
// missing there is gone.
func (v *view) supersede(newer view) {
	if newer.rev >= v.rev {
		*v = newer
	}
}

// set takes in what one of the two keys is now.
func (v *view) set(site site, key string, kv *mvccpb.KeyValue, gone bool) {
	switch {
	case key == site.record() && gone:
		v.record, v.mod = record{}, 0
	case key == site.record():
		v.record, v.mod = decode[record](kv), kv.ModRevision
	case key == site.gate() && gone:
		v.gate, v.keeper = 0, presence{}
	case key == site.gate():
		v.gate, v.keeper = kv.CreateRevision, decode[presence](kv)
	}
}

// viewOf is what a read of both keys has shown.
func viewOf(site site, kvs []*mvccpb.KeyValue, rev int64) view {
	v := view{rev: rev}
	for _, kv := range kvs {
		v.set(site, string(kv.Key), kv, false)
	}
	return v
}

// A ticket says when a party came to the gate. As each decision replaces the
// record, and there is one gate at a time, these two numbers say which gate it
// was and what became of it.
type ticket struct {
	after  int64    // the record's mod revision, which the arrival compared
	at     int64    // the revision of the arrival
	keeper presence // of the gate, as the party has seen it; zero if it has not
}

// An outcome is what a party learns from a view.
type outcome int

const (
	waiting outcome = iota // nothing is decided
	passed                 // it may go on
	surplus                // the others are complete without it
	broken                 // somebody will not come
	overdue                // decided, and so much since then that the view does not tell
)

// verdict says what a view means for a party, and who broke the gate if
// somebody did. The view must be of the arrival's revision or later.
//
//	the record is the one of the arrival
//	  the gate is there and not younger than the arrival     waiting
//	  it is not                                              its keeper died: broken
//	the record replaced the one of the arrival
//	  opened, from before the arrival                        passed, or too many
//	  opened or broken, a younger gate                       its own keeper had died: broken
//	  broken                                                 broken
//	the record was replaced more than once                   overdue
func (t ticket) verdict(v view) (outcome, breach) {
	died := breach{By: t.keeper.Party, Key: t.keeper.Key, Reason: ReasonDied}
	opened, breached := v.record.Opened, v.record.Broken
	switch {
	case v.mod == t.after && v.gate != 0 && v.gate <= t.at:
		return waiting, breach{}
	case v.mod == t.after:
		return broken, died
	case opened != nil && opened.After == t.after && opened.Gate > t.at:
		return broken, died
	case opened != nil && opened.After == t.after && t.at > opened.Last:
		return surplus, breach{}
	case opened != nil && opened.After == t.after:
		return passed, breach{}
	case breached != nil && breached.After == t.after && breached.Gate > t.at:
		return broken, died
	case breached != nil && breached.After == t.after:
		return broken, *breached
	}
	return overdue, breach{}
}
