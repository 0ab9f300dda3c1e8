package election

import (
	"context"
	"encoding/json"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/prefixwatch"
)

// awaitBetter returns true once a candidate of a higher rank has been standing
// for long enough and the lead can pass to it, and false when ctx ends. It
// watches what the candidates say about themselves, and only the leader does.
func (t *Term) awaitBetter(ctx context.Context) bool {
	own := t.election.opts.priority
	watch := prefixwatch.Open(ctx, t.election.session.Client(), prefixwatch.Config{
		Key: t.election.opts.about, Prefix: true, Probe: t.hold.Epoch().TTL(),
	})
	defer watch.Close()
	r := rivals{rank: own.Rank, after: own.After}
	for {
		wait, cancel := ctx, context.CancelFunc(func() {})
		if due, ok := r.due(); ok {
			wait, cancel = context.WithDeadline(ctx, due)
		}
		update, err := watch.Next(wait)
		late := wait.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			r.see(update.Events, time.Now())
		case !late:
			return false // refused for good: no rank counts then
		case t.canPassToBetter(ctx):
			return true
		default:
			r.again(time.Now())
		}
	}
}

// canPassToBetter tells whether somebody better would get the term if it ended
// now.
func (t *Term) canPassToBetter(ctx context.Context) bool {
	list, err := t.election.seen.list(ctx)
	return err == nil && overtaken(list, t.Token(), t.election.opts.priority.Rank)
}

// rivals are the candidates that are to take over from the leader, and since
// when they have been seen. It has no I/O.
type rivals struct {
	rank  int
	after time.Duration
	since map[string]time.Time // by key
}

// see takes changes of descriptions in.
func (r *rivals) see(events []*clientv3.Event, now time.Time) {
	if r.since == nil {
		r.since = make(map[string]time.Time)
	}
	for _, ev := range events {
		key := string(ev.Kv.Key)
		var d description
		better := ev.Type != clientv3.EventTypeDelete && json.Unmarshal(ev.Kv.Value, &d) == nil && d.Rank > r.rank && !d.Waits
		if _, known := r.since[key]; !better {
			delete(r.since, key)
		} else if !known {
			r.since[key] = now
		}
	}
}

// due is when the first of them has been standing for long enough.
func (r *rivals) due() (at time.Time, ok bool) {
	for _, since := range r.since {
		if due := since.Add(r.after); !ok || due.Before(at) {
			at, ok = due, true
		}
	}
	return at, ok
}

// again puts off those that were due: the lead could not pass to them.
func (r *rivals) again(now time.Time) {
	for key, since := range r.since {
		if !since.Add(r.after).After(now) {
			r.since[key] = now
		}
	}
}
