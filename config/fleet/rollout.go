package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gotenure/tenure/config"
)

// ErrRolledBack is returned by Rollout when it has taken the change back. The
// error says why.
var ErrRolledBack = errors.New("fleet: rolled back")

// Steps say how a change is rolled out.
type Steps struct {
	// Selections are who has the change in each step before everybody. Each
	// must choose a live instance.
	Selections []config.Selection
	// Quiet is for how long all who have it must have been well before the
	// next step.
	Quiet time.Duration
	// Patience is how long a step may take until all who were chosen have
	// applied it and are well.
	Patience time.Duration
}

// undoTimeout bounds taking a change back after the caller has given up.
const undoTimeout = 30 * time.Second

// Rollout gives a draft's change to some instances, then to more, and at last to
// everybody, each time when those who have it have applied it and have been
// well for a while. When one of them rejects it, is not well, or vanishes, the
// change is taken back, from everybody if need be, and the error matches
// ErrRolledBack; so it does when ctx ends. If it cannot be taken back either,
// the error does not match ErrRolledBack.
//
// It returns the revision at which everybody was given the change.
func Rollout[T any](ctx context.Context, f *Fleet, v *config.Value[T], d *config.Draft, steps Steps) (int64, error) {
	switch {
	case len(steps.Selections) == 0 || steps.Quiet < 0 || steps.Patience <= 0:
		return 0, errors.New("fleet: a rollout needs selections and a patience above 0")
	case f.name != v.Name():
		return 0, fmt.Errorf("fleet: the fleet is of %q and the value of %q", f.name, v.Name())
	}
	id, rev, err := v.Stage(ctx, d, steps.Selections[0])
	if err != nil {
		if errors.Is(err, config.ErrUnknown) {
			err = errors.Join(err, unstage(ctx, v, id))
		}
		return 0, fmt.Errorf("fleet: %q: %w", f.name, err)
	}
	undo := func(why error) error { return undone(f.name, why, unstage(ctx, v, id)) }
	for i, selection := range steps.Selections {
		if i > 0 {
			if rev, err = v.Widen(ctx, id, selection); err != nil {
				return 0, undo(err)
			}
		}
		chosen := func(r Report) bool {
			return selection.Chooses(id, config.Instance{Name: r.Name, Labels: r.Labels})
		}
		if err := f.settle(ctx, rev, steps, func(r Report) (bool, bool) { return chosen(r), r.Staged == id }); err != nil {
			return 0, undo(fmt.Errorf("step %d: %w", i+1, err))
		}
	}
	rev, err = v.Promote(ctx, id)
	if err != nil {
		if errors.Is(err, config.ErrUnknown) {
			return 0, fmt.Errorf("fleet: %q: %w", f.name, err)
		}
		return 0, undo(err)
	}
	err = f.settle(ctx, rev, steps, func(Report) (bool, bool) { return true, true })
	if err != nil {
		return 0, undone(f.name, fmt.Errorf("everybody: %w", err), restore(ctx, v, d.Revision, rev))
	}
	return rev, nil
}

func undone(name string, why, failed error) error {
	if failed != nil {
		return fmt.Errorf("fleet: %q: %w; and it is not taken back: %w", name, why, failed)
	}
	return fmt.Errorf("%w: %q: %w", ErrRolledBack, name, why)
}

// unstage takes a staged change back, also when the caller has given up.
func unstage[T any](ctx context.Context, v *config.Value[T], id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if _, err := v.Unstage(ctx, id); err != nil && !errors.Is(err, config.ErrNotStaged) {
		return err
	}
	return nil
}

// restore takes a change back that everybody has, unless somebody has written
// since.
func restore[T any](ctx context.Context, v *config.Value[T], to, made int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	d, err := v.DraftRollback(ctx, to)
	if err != nil {
		return err
	}
	if d.Revision != made {
		return fmt.Errorf("%w: at revision %d", config.ErrConflict, d.Revision)
	}
	_, err = v.Apply(ctx, d)
	return err
}

// settle waits until all that concerns says are concerned have applied the
// revision, by which they have what concerns says they must, and have been well
// for a while; or for the reason why that will not be.
func (f *Fleet) settle(ctx context.Context, revision int64, steps Steps, concerns func(Report) (concerned, has bool)) error {
	patience, cancel := context.WithTimeoutCause(ctx, steps.Patience, errors.New("no patience left"))
	defer cancel()
	w := watcher{revision: revision, concerns: concerns, applied: make(map[string]bool)}
	err := f.follow(patience, revision, func(reports []Report) (bool, error) {
		ready, err := w.judge(reports)
		return ready, err
	})
	if patience.Err() != nil && err != nil {
		return fmt.Errorf("%w: %s", context.Cause(patience), w.waiting)
	}
	if err != nil {
		return err
	}
	quiet, cancel := context.WithTimeout(ctx, steps.Quiet)
	defer cancel()
	err = f.follow(quiet, revision, func(reports []Report) (bool, error) {
		_, err := w.judge(reports)
		return false, err
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case quiet.Err() != nil && !w.failed:
		return nil
	}
	return err
}

// watcher judges reports of one step. It has no I/O.
type watcher struct {
	revision int64
	concerns func(Report) (concerned, has bool)
	applied  map[string]bool // by name: who had it once
	waiting  string          // for what, if not ready
	failed   bool
}

// judge tells whether all who are concerned have it and are well, or why that
// will not be.
func (w *watcher) judge(reports []Report) (ready bool, err error) {
	defer func() { w.failed = err != nil }()
	concerned := 0
	present := make(map[string]bool)
	w.waiting = ""
	for _, r := range reports {
		mine, has := w.concerns(r)
		if !mine {
			continue
		}
		concerned++
		present[r.Name] = true
		switch {
		case r.Refused(w.revision):
			return false, fmt.Errorf("%w: %s: %s", ErrRejected, r.Name, r.Rejected.Problem)
		case !r.Applied(w.revision) || !has:
			w.waiting = r.Name + " has not applied it"
		case r.Health != nil && r.Health.Revision >= w.revision && r.Health.Problem != "":
			return false, fmt.Errorf("%s is not well: %s", r.Name, r.Health.Problem)
		case r.AsksHealth && (r.Health == nil || r.Health.Revision < w.revision):
			w.waiting = r.Name + " has not been asked how it is"
			w.applied[r.Name] = true
		default:
			w.applied[r.Name] = true
		}
	}
	for name := range w.applied {
		if !present[name] {
			return false, fmt.Errorf("%s has vanished", name)
		}
	}
	if concerned == 0 {
		w.waiting = "no live instance is chosen"
	}
	return w.waiting == "", nil
}
