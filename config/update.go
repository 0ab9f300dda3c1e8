package config

import (
	"context"
	"errors"
	"fmt"
)

// Update changes the configuration: edit gets a copy of the value that etcd's
// content gives at this moment, and what it changes is written, if nobody has
// changed anything meanwhile; otherwise Update begins anew, so edit may be
// called several times. It returns the revision of the change; see Wait for
// when it has arrived here. If edit returns an error, or changes nothing,
// nothing is written.
//
// Only fields that differ are written, so defaults and the environment of this
// process do not become everybody's. What the value would be is validated
// before anything is written: ErrRejected, or ErrShadowed if the change would
// have no effect here. A change that does not fit into a request is refused with
// a *SizeError. ErrStaged is returned while another change is being rolled out.
// Document formats lose comments; unknown fields stay.
//
// It costs one read and one transaction; nothing else is in etcd afterwards but
// the change and its record in the history. When etcd does not answer, Update
// finds out whether the change was made, until ctx ends: then ErrUnknown.
func (v *Value[T]) Update(ctx context.Context, edit func(*T) error) (int64, error) {
	return v.write(ctx, "", func(from base) (body, error) {
		b, _, err := v.pipeline.edited(from.body, edit)
		return b, err
	})
}

// Put makes value the whole of etcd's layer, whatever was there, valid or not,
// and returns the revision. It is validated as with Update.
func (v *Value[T]) Put(ctx context.Context, value T) (int64, error) {
	b, err := v.pipeline.whole(&value)
	if err != nil {
		return 0, v.explain(err)
	}
	return v.write(ctx, "", func(base) (body, error) { return b, nil })
}

// PutDocument writes a document as it is, comments included, after making sure
// that it is valid, and returns the revision. It is for files that people keep.
func (v *Value[T]) PutDocument(ctx context.Context, document []byte) (int64, error) {
	b, err := v.document(document)
	if err != nil {
		return 0, err
	}
	return v.write(ctx, "", func(base) (body, error) { return b, nil })
}

func (v *Value[T]) document(document []byte) (body, error) {
	if v.place.doc == "" {
		return body{}, fmt.Errorf("%w: %q has a key for each field and no document", ErrConfig, v.name)
	}
	text := string(document)
	b := body{Doc: &text}
	if _, err := v.pipeline.loadBody(b, nil); err != nil {
		return body{}, fmt.Errorf("%w: %q: %w", ErrRejected, v.name, err)
	}
	return b, nil
}

// write computes a body from what is there and commits it, until that was
// possible without anybody else writing in between.
func (v *Value[T]) write(ctx context.Context, note string, compute func(base) (body, error)) (int64, error) {
	for failures := 1; ; failures++ {
		from, err := v.readBase(ctx)
		if err != nil {
			return 0, err
		}
		next, err := compute(from)
		if err != nil {
			return 0, v.explain(err)
		}
		if next.equal(from.body) {
			return from.revision, nil
		}
		rev, err := v.commit(ctx, from, next, note, false)
		if !errors.Is(err, errAgain) {
			return rev, err
		}
		backoff(ctx, failures)
		if ended := v.ended(ctx); ended != nil {
			return 0, fmt.Errorf("%w: %q: %w", ErrConflict, v.name, ended)
		}
	}
}

// explain puts the name into errors of the pipeline. Those of edit functions
// and sentinels stay in the chain.
func (v *Value[T]) explain(err error) error { return fmt.Errorf("config: %q: %w", v.name, err) }

// A Draft is a change that was computed and validated and is not made yet.
type Draft struct {
	// Revision is that of the content that it was computed from.
	Revision int64
	// Changes are the fields that it changes for the process that made it.
	Changes []Change

	name string
	from base
	next body
	note string
}

// Draft computes what Update would do, and does not do it: the plan, to be
// looked at and then given to Apply or Stage.
func (v *Value[T]) Draft(ctx context.Context, edit func(*T) error) (*Draft, error) {
	from, err := v.readBase(ctx)
	if err != nil {
		return nil, err
	}
	next, changes, err := v.pipeline.edited(from.body, edit)
	if err != nil {
		return nil, v.explain(err)
	}
	return &Draft{Revision: from.revision, Changes: changes, name: v.name, from: from, next: next}, nil
}

// DraftDocument computes what PutDocument would do, and does not do it.
func (v *Value[T]) DraftDocument(ctx context.Context, document []byte) (*Draft, error) {
	next, err := v.document(document)
	if err != nil {
		return nil, err
	}
	return v.draftOf(ctx, func(context.Context, base) (body, string, error) { return next, "", nil })
}

// draftOf makes a draft of a whole body. What is there now need not be valid.
func (v *Value[T]) draftOf(ctx context.Context, compute func(context.Context, base) (body, string, error)) (*Draft, error) {
	from, err := v.readBase(ctx)
	if err != nil {
		return nil, err
	}
	next, note, err := compute(ctx, from)
	if err != nil {
		return nil, v.explain(err)
	}
	after, err := v.pipeline.loadBody(next, nil)
	if err != nil {
		return nil, v.explain(fmt.Errorf("%w: %w", ErrRejected, err))
	}
	var old *T
	if before, err := v.pipeline.loadBody(from.body, nil); err == nil {
		old = before.value
	}
	return &Draft{
		Revision: from.revision, Changes: v.pipeline.between(old, after.value),
		name: v.name, from: from, next: next, note: note,
	}, nil
}

// Apply makes a draft's change and returns its revision, or ErrConflict if the
// configuration has changed since the draft was made.
func (v *Value[T]) Apply(ctx context.Context, d *Draft) (int64, error) {
	if d.name != v.name {
		return 0, fmt.Errorf("%w: the draft is of %q and not of %q", ErrConfig, d.name, v.name)
	}
	return v.onBase(ctx, d, func(from base) (int64, error) {
		if d.next.equal(from.body) {
			return from.revision, nil
		}
		return v.commit(ctx, from, d.next, d.note, false)
	})
}

// MarshalBinary returns what the change would make of the configuration, for
// Check in other processes. Secrets are in it as they would be in etcd.
func (d *Draft) MarshalBinary() ([]byte, error) { return d.next.pack() }

// Check tells whether this process would accept a draft, as its MarshalBinary
// returned it: the error says why not. It does no I/O but to read the file of
// WithFile.
func (v *Value[T]) Check(draft []byte) error {
	next, err := unpack(draft)
	if err != nil {
		return fmt.Errorf("config: %q: the draft cannot be read: %w", v.name, err)
	}
	if _, err := v.pipeline.loadBody(next, nil); err != nil {
		return v.explain(fmt.Errorf("%w: %w", ErrRejected, err))
	}
	return nil
}

// onBase does something on what a draft was computed from, or fails if it is no
// longer there.
func (v *Value[T]) onBase(ctx context.Context, d *Draft, do func(from base) (int64, error)) (int64, error) {
	for failures := 1; ; failures++ {
		from, err := v.readBase(ctx)
		if err != nil {
			return 0, err
		}
		if !d.from.same(from) {
			return 0, fmt.Errorf("%w: %q", ErrConflict, v.name)
		}
		rev, err := do(from)
		if !errors.Is(err, errAgain) {
			return rev, err
		}
		backoff(ctx, failures)
		if ended := v.ended(ctx); ended != nil {
			return 0, fmt.Errorf("%w: %q: %w", ErrConflict, v.name, ended)
		}
	}
}
