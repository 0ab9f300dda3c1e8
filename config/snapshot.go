package config

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/gotenure/tenure/config/internal/tree"
)

// state is one link of the chain of what was in force. It is never changed once
// it is published.
type state[T any] struct {
	loaded   *loaded[T]
	revision int64 // of the content that the value was made of
	seen     int64 // up to which etcd's content is known
	source   Source
	applied  time.Time
	asOf     time.Time // of a fallback: when it was good
	rejected *RejectedError
	current  bool          // nothing newer was rejected
	next     chan struct{} // closed once there is a newer state
}

// A Source is where the content of etcd's layer came from.
type Source string

const (
	FromEtcd     Source = "etcd"
	FromFallback Source = "fallback" // the file of WithFallback
)

// A Snapshot is a value and all that is known about it.
type Snapshot[T any] struct {
	// Value is shared and must not be changed.
	Value *T
	// Revision is etcd's revision at which the content that Value was made of
	// was written.
	Revision int64
	// Seen is the revision up to which etcd's content was looked at, whether it
	// was taken or rejected.
	Seen   int64
	Source Source
	// Staged is the id of the staged change that Value is of, or "".
	Staged string
	// Current is false while newer content is rejected, or etcd has not
	// answered yet: then Value is the last good one.
	Current bool
	// Applied is when this process took the value into use.
	Applied time.Time
	// Age is for how long nothing was heard from etcd, when the snapshot was
	// taken.
	Age time.Duration
	// Rejected is the last content that was rejected, nil if none ever was.
	Rejected *RejectedError

	loaded   *loaded[T]
	pipeline *pipeline[T]
}

// Snapshot returns the value in force with its origin. It does no I/O.
func (v *Value[T]) Snapshot() Snapshot[T] { return v.snapshot(v.state.Load()) }

func (v *Value[T]) snapshot(s *state[T]) Snapshot[T] {
	return Snapshot[T]{
		Value: s.loaded.value, Revision: s.revision, Seen: s.seen, Source: s.source, Staged: s.loaded.staged,
		Current: s.current, Applied: s.applied, Age: v.age(s), Rejected: s.rejected,
		loaded: s.loaded, pipeline: v.pipeline,
	}
}

// Age is for how long nothing was heard from etcd: how old the knowledge is
// that the value is the newest one. A watch on which nothing happens asks etcd
// every ten seconds at least, or three times within WithMaxStaleness. With a
// fallback in force it counts from when that was good.
func (v *Value[T]) Age() time.Duration { return v.age(v.state.Load()) }

func (v *Value[T]) age(s *state[T]) time.Duration {
	at := v.watch.Load().Confirmed()
	if at.IsZero() {
		at = s.asOf
	}
	// Go's monotonic clock stands still while the machine is suspended, and
	// the wall clock may be set back: whichever says more.
	return max(0, time.Since(at), time.Now().Round(0).Sub(at.Round(0)))
}

// An Origin is a layer that says something.
type Origin struct {
	Layer Layer
	// Where is the file, the key in etcd, or the prefix of the variables.
	Where string
}

func (o Origin) String() string { return o.Layer.String() + " " + o.Where }

// Layers returns the layers that say anything, lowest first.
func (s Snapshot[T]) Layers() []Origin {
	var out []Origin
	for _, layer := range s.pipeline.opts.order {
		if len(s.loaded.layers[layer]) > 0 {
			out = append(out, s.pipeline.origin(layer))
		}
	}
	return out
}

// Origin returns the layer that decides on the field at a path, as in
// limits.max_conns, and false if none says anything about it. For a map it is
// the highest layer that says something about it.
func (s Snapshot[T]) Origin(path string) (Origin, bool) {
	for i := len(s.pipeline.opts.order) - 1; i >= 0; i-- {
		layer := s.pipeline.opts.order[i]
		if tree.Find(s.loaded.layers[layer], strings.Split(path, ".")) != nil {
			return s.pipeline.origin(layer), true
		}
	}
	return Origin{}, false
}

func (p *pipeline[T]) origin(layer Layer) Origin {
	where := ""
	switch layer {
	case File:
		where = p.opts.file
	case Etcd:
		where = p.place.doc + p.place.fields // one of them is empty
	case Environment:
		where = *p.opts.environment
	}
	return Origin{Layer: layer, Where: where}
}

// String describes the snapshot with the value in JSON, secrets masked.
func (s Snapshot[T]) String() string {
	return fmt.Sprintf("%s at revision %d from %s: %s", s.pipeline.name, s.Revision, s.Source, s.Masked())
}

// Masked returns the value in JSON, with "[secret]" for what is secret.
func (s Snapshot[T]) Masked() string {
	t, err := s.pipeline.encode(s.Value)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return tree.JSONText(s.pipeline.schema.Mask(t))
}

// LogValue makes log/slog write where the value is from, and the value with
// secrets masked.
func (s Snapshot[T]) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("name", s.pipeline.name), slog.Int64("revision", s.Revision), slog.String("source", string(s.Source)),
		slog.Bool("current", s.Current), slog.String("value", s.Masked()))
}

// Wait waits until this Value has looked at everything up to a revision, such as
// one that Update returned, and returns the snapshot then. If the newest
// content was rejected the error is a *RejectedError.
func (v *Value[T]) Wait(ctx context.Context, revision int64) (Snapshot[T], error) {
	for {
		s := v.state.Load()
		switch {
		case s.source == FromEtcd && (s.revision >= revision || s.seen >= revision && s.current):
			return v.snapshot(s), nil
		case s.seen >= revision && s.rejected != nil && !s.current:
			return v.snapshot(s), s.rejected
		}
		select {
		case <-s.next:
		case <-ctx.Done():
			return v.snapshot(s), fmt.Errorf("config: %q: revision %d has not come: %w", v.name, revision, context.Cause(ctx))
		case <-v.life.Done():
			return v.snapshot(s), ErrClosed
		}
	}
}
