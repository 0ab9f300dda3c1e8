package election

import (
	"context"
	"iter"

	"github.com/gotenure/tenure/internal/prefixwatch"
)

// An ObserveOption says where an observation begins.
type ObserveOption interface{ applyObserve(*observation) }

type observation struct{ since int64 }

type after int64

// After goes on behind the event of that revision, which the reader has seen:
// Observe tells what has happened since, and not who leads at present. If etcd
// has forgotten what that was, or has never had that revision, it begins with a
// Gap. A reader with a place of its own has a watch of its own.
func After(revision int64) ObserveOption { return after(revision) }

func (a after) applyObserve(o *observation) { o.since = int64(a) }

// Observe follows who leads. It tells first who leads at present, or that
// nobody does, and then every term, exactly once and in the order of their
// tokens, however short, every change of what a leader proclaims, and every
// vacancy. What cannot be told any more, because etcd was compacted while it
// could not be reached or because the reader was more than 1,024 events behind,
// is replaced by a Gap and what holds at present.
//
// It ends with an error: the cause of ctx when that ends, or that of etcd if it
// refuses the watch for good. Broken connections and changes of etcd's leader
// are no errors. The loop can be left at any time; then nothing of it runs on.
//
// All who observe one election through one client share one watch.
func (o *Observer) Observe(ctx context.Context, opts ...ObserveOption) iter.Seq2[Event, error] {
	var from observation
	for _, opt := range opts {
		opt.applyObserve(&from)
	}
	return func(yield func(Event, error) bool) {
		if o.err != nil {
			yield(Event{}, o.err)
			return
		}
		events := o.follow(ctx, from)
		defer events.close()
		for {
			ev, err := events.read(ctx)
			if err != nil {
				yield(Event{}, o.explain(err))
				return
			}
			if !yield(ev, nil) {
				return
			}
		}
	}
}

// A source is what the events of one observation come from.
type source interface {
	read(ctx context.Context) (Event, error)
	close()
}

func (o *Observer) follow(ctx context.Context, from observation) source {
	if from.since > 0 {
		return &replay{
			watch: prefixwatch.Open(ctx, o.client, prefixwatch.Config{Key: o.prefix, Prefix: true, Since: from.since}),
			board: board{since: from.since},
		}
	}
	return &reader{hub: join(o.client, o.prefix)}
}

// A replay is an observation with a watch of its own.
type replay struct {
	watch   *prefixwatch.Watch
	board   board
	pending []entry
}

func (r *replay) read(ctx context.Context) (Event, error) {
	for len(r.pending) == 0 {
		update, err := r.watch.Next(ctx)
		if err != nil {
			return Event{}, err
		}
		r.pending = r.board.apply(update)
	}
	ev := r.pending[0].Event
	r.pending = r.pending[1:]
	return ev, nil
}

func (r *replay) close() { r.watch.Close() }
