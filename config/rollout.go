package config

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Stage gives a draft's change to some instances only, until Promote gives it
// to everybody or Unstage takes it back. Instances are those processes that
// watch the configuration WithInstance. It returns the id of the staged change
// and its revision. One change at a time can be staged, and nothing else can be
// written meanwhile: ErrStaged. ErrConflict is returned if the configuration
// has changed since the draft was made.
func (v *Value[T]) Stage(ctx context.Context, d *Draft, to Selection) (id string, revision int64, err error) {
	switch {
	case d.name != v.name:
		return "", 0, fmt.Errorf("%w: the draft is of %q and not of %q", ErrConfig, d.name, v.name)
	case !v.place.showsHead():
		return "", 0, fmt.Errorf("%w: changes cannot be staged for a configuration AtKey", ErrConfig)
	}
	s := stage{ID: rand.Text(), Author: v.opts.author, Time: time.Now().UTC().Truncate(time.Millisecond), Selection: to}
	if s.Packed, err = d.next.pack(); err != nil {
		return "", 0, v.explain(err)
	}
	rev, err := v.onBase(ctx, d, func(from base) (int64, error) {
		if from.stageRev != 0 {
			return 0, fmt.Errorf("%w: %q", ErrStaged, v.name)
		}
		return v.putStage(ctx, from, s)
	})
	return s.ID, rev, err
}

// Widen gives the staged change with this id to more instances, or others. It
// returns the revision from which on it is so.
func (v *Value[T]) Widen(ctx context.Context, id string, to Selection) (int64, error) {
	for failures := 1; ; failures++ {
		from, err := v.readStaged(ctx, id)
		if err != nil {
			return 0, err
		}
		s := *from.stage
		s.Selection = to
		rev, err := v.putStage(ctx, from, s)
		if !errors.Is(err, errAgain) {
			return rev, err
		}
		backoff(ctx, failures)
	}
}

// putStage writes the stage, if nothing has changed.
func (v *Value[T]) putStage(ctx context.Context, from base, s stage) (int64, error) {
	if err := s.Selection.check(); err != nil {
		return 0, err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return 0, v.explain(err)
	}
	cmps := append(from.unchanged(v.place), clientv3.Compare(clientv3.ModRevision(v.place.stage), "=", from.stageRev))
	ops := []clientv3.Op{clientv3.OpPut(v.place.stage, string(text))}
	if size := requestSize(cmps, ops); size > v.opts.requestLimit {
		return 0, v.explain(&SizeError{Size: size, Limit: v.opts.requestLimit})
	}
	rev, err := v.try(ctx, cmps, ops)
	if !errors.Is(err, errUnanswered) {
		return rev, err
	}
	return v.settleStage(ctx, from, string(text), err)
}

// settleStage finds out what became of a stage that was not answered. Unlike a
// commit it leaves the head as it is, so settling always changes the head, and
// reading it again tells the rest.
func (v *Value[T]) settleStage(ctx context.Context, from base, text string, why error) (int64, error) {
	_, err := v.settle(ctx, from, v.place.stage, why, func(head, []byte) (bool, error) { return false, nil })
	if !errors.Is(err, errAgain) {
		return 0, err
	}
	resp, err := v.get(ctx, v.place.stage)
	if err != nil {
		return 0, fmt.Errorf("%w: %q: %w", ErrUnknown, v.name, err)
	}
	if len(resp.Kvs) == 1 && string(resp.Kvs[0].Value) == text {
		return resp.Kvs[0].ModRevision, nil
	}
	return 0, errAgain
}

// readStaged reads what there is, which must include the staged change.
func (v *Value[T]) readStaged(ctx context.Context, id string) (base, error) {
	from, err := v.readBase(ctx)
	switch {
	case err != nil:
		return base{}, err
	case from.stageErr != nil:
		return base{}, v.explain(from.stageErr)
	case from.stage == nil || from.stage.ID != id:
		return base{}, fmt.Errorf("%w: %q: %s", ErrNotStaged, v.name, id)
	}
	return from, nil
}

// Promote gives the staged change with this id to everybody and returns the
// revision. For the instances that have it already nothing changes. ErrNotStaged
// is returned if it is not staged any more.
func (v *Value[T]) Promote(ctx context.Context, id string) (int64, error) {
	for failures := 1; ; failures++ {
		from, err := v.readStaged(ctx, id)
		if err != nil {
			return 0, err
		}
		rev, err := v.commit(ctx, from, from.stage.Body, "staged "+id, true)
		if !errors.Is(err, errAgain) {
			return rev, err
		}
		backoff(ctx, failures)
	}
}

// Unstage takes the staged change with this id back: the instances that have it
// return to what everybody has. It returns the revision from which on that is
// so. ErrNotStaged is returned if it is not staged any more.
func (v *Value[T]) Unstage(ctx context.Context, id string) (int64, error) {
	for failures := 1; ; failures++ {
		from, err := v.readBase(ctx)
		switch {
		case err != nil:
			return 0, err
		case from.stageRev == 0 && failures > 1:
			return from.at, nil // by an attempt that was not answered, or by somebody else
		case from.stageRev == 0 || from.stageErr == nil && from.stage.ID != id:
			return 0, fmt.Errorf("%w: %q: %s", ErrNotStaged, v.name, id)
		}
		rev, err := v.try(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(v.place.stage), "=", from.stageRev)},
			[]clientv3.Op{clientv3.OpDelete(v.place.stage)})
		if !errors.Is(err, errAgain) && !errors.Is(err, errUnanswered) {
			return rev, err
		}
		backoff(ctx, failures)
	}
}

// Staged returns the id and the selection of the change that is being rolled
// out, and whether there is one. It costs one read.
func (v *Value[T]) Staged(ctx context.Context) (id string, to Selection, ok bool, err error) {
	from, err := v.readBase(ctx)
	switch {
	case err != nil:
		return "", Selection{}, false, err
	case from.stageErr != nil:
		return "", Selection{}, false, v.explain(from.stageErr)
	case from.stage == nil:
		return "", Selection{}, false, nil
	}
	return from.stage.ID, from.stage.Selection, true, nil
}
