package config

import (
	"context"
	"iter"
	"reflect"
)

// OnChange calls f for every change of the value that comes after this call,
// one at a time, in the order of revisions, from a goroutine of its own. While f
// runs nothing else waits; what changes meanwhile it is told in one call, whose
// old is the new of its last one. To miss nothing, call OnChange before the
// first Get.
//
// The returned function ends the subscription: no call begins after it has
// returned, but one may still run. Close waits for f to return; f must not wait
// for Close.
func (v *Value[T]) OnChange(f func(old, new Snapshot[T])) (stop func()) {
	ctx, cancel := context.WithCancel(v.life)
	told := v.state.Load()
	_ = v.begin(func() { // after Close there is nothing to follow
		for s := range v.states(ctx, told) {
			if s.loaded.value != told.loaded.value {
				f(v.snapshot(told), v.snapshot(s))
				told = s
			}
		}
	})
	return cancel
}

// OnChangeOf is OnChange for a part of the value: f is called with what pick
// returns, whenever that is not deeply equal to what it was before. What pick
// returns belongs to the value and must not be changed.
func OnChangeOf[T, F any](v *Value[T], pick func(*T) F, f func(old, new F)) (stop func()) {
	ctx, cancel := context.WithCancel(v.life)
	told := v.state.Load()
	_ = v.begin(func() {
		old := pick(told.loaded.value)
		for s := range v.states(ctx, told) {
			if now := pick(s.loaded.value); !reflect.DeepEqual(old, now) {
				f(old, now)
				old = now
			}
		}
	})
	return cancel
}

// A Step leads from one value to the next.
type Step[T any] struct {
	Old, New Snapshot[T] // Old is the zero Snapshot in the first Step
}

// Changes lists what differs, field by field, with secrets masked.
func (s Step[T]) Changes() []Change { return s.New.pipeline.between(s.Old.Value, s.New.Value) }

// Changes yields the value in force and then each that follows, in the order of
// revisions. A slow reader skips values: the Old of a Step is always the New of
// the one before. Content that was rejected is yielded as a *RejectedError with
// the value that stays in force as Old and New. The sequence ends after it has
// yielded ErrClosed or the cause of ctx as an error.
func (v *Value[T]) Changes(ctx context.Context) iter.Seq2[Step[T], error] {
	return func(yield func(Step[T], error) bool) {
		told := v.state.Load()
		if !yield(Step[T]{New: v.snapshot(told)}, nil) {
			return
		}
		rejected := told.rejected
		for s := range v.states(ctx, told) {
			old, now := v.snapshot(told), v.snapshot(s)
			// Of a rejection and a value that came at once, the order is told by
			// whether the value is newer.
			if s.rejected != rejected && s.current && !yield(Step[T]{Old: old, New: old}, s.rejected) {
				return
			}
			if s.loaded.value != told.loaded.value {
				if !yield(Step[T]{Old: old, New: now}, nil) {
					return
				}
				told = s
			}
			if s.rejected != rejected && !s.current && !yield(Step[T]{Old: now, New: now}, s.rejected) {
				return
			}
			rejected = s.rejected
		}
		yield(Step[T]{Old: v.snapshot(told), New: v.snapshot(told)}, v.ended(ctx))
	}
}

// Snapshots yields the snapshot in force and then another one whenever anything
// about it has changed: the value, the revision up to which etcd was looked at,
// a rejection. A slow reader skips some. It ends with ctx or the Value.
func (v *Value[T]) Snapshots(ctx context.Context) iter.Seq[Snapshot[T]] {
	return func(yield func(Snapshot[T]) bool) {
		first := v.state.Load()
		if !yield(v.snapshot(first)) {
			return
		}
		for s := range v.states(ctx, first) {
			if !yield(v.snapshot(s)) {
				return
			}
		}
	}
}

// states yields the newest state whenever it is another than before, beginning
// behind from, until ctx or the Value has ended.
func (v *Value[T]) states(ctx context.Context, from *state[T]) iter.Seq[*state[T]] {
	return func(yield func(*state[T]) bool) {
		for at := from; ; {
			select {
			case <-at.next:
			case <-ctx.Done():
				return
			case <-v.life.Done():
				return
			}
			at = v.state.Load()
			if v.ended(ctx) != nil || !yield(at) {
				return
			}
		}
	}
}
