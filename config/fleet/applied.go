package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Sentinels to test with errors.Is.
var (
	// ErrRejected is returned by WaitApplied, Plan and Rollout when so many
	// instances have rejected it, or would, that what was asked for cannot be
	// any more.
	ErrRejected = errors.New("fleet: rejected by an instance")
	// ErrNotApplied is returned by WaitApplied when its context ended first.
	ErrNotApplied = errors.New("fleet: not applied yet")
)

// A Condition says how many instances must have applied a revision.
type Condition struct {
	what string
	need func(s Status) (enough, possible bool)
}

// All is met when every live instance has applied it, and there is one.
func All() Condition {
	return Condition{"all", func(s Status) (bool, bool) {
		n := s.live()
		return n > 0 && len(s.Applied) == n, len(s.Rejected) == 0
	}}
}

// Quorum is met when more than half of the live instances have applied it.
func Quorum() Condition {
	return Condition{"a quorum", func(s Status) (bool, bool) {
		n := s.live()
		return len(s.Applied) > n/2, n == 0 || n-len(s.Rejected) > n/2
	}}
}

// Names is met when the instances with these names have applied it, whether
// they live yet or not.
func Names(names ...string) Condition {
	return Condition{strings.Join(names, ", "), func(s Status) (bool, bool) {
		applied, rejected := s.named(s.Applied), s.named(s.Rejected)
		enough, possible := len(names) > 0, true
		for _, name := range names {
			enough = enough && applied[name]
			possible = possible && !rejected[name]
		}
		return enough, possible
	}}
}

// A Status says which live instances have applied a revision. Each is in one of
// the lists.
type Status struct {
	Revision int64
	Applied  []Report
	Rejected []Report
	Waiting  []Report // has not looked at it yet, or is on its fallback
}

func newStatus(revision int64, reports []Report) Status {
	s := Status{Revision: revision}
	for _, r := range reports {
		switch {
		case r.Applied(revision):
			s.Applied = append(s.Applied, r)
		case r.Refused(revision):
			s.Rejected = append(s.Rejected, r)
		default:
			s.Waiting = append(s.Waiting, r)
		}
	}
	return s
}

func (s Status) live() int { return len(s.Applied) + len(s.Rejected) + len(s.Waiting) }

func (s Status) named(reports []Report) map[string]bool {
	names := make(map[string]bool)
	for _, r := range reports {
		names[r.Name] = true
	}
	return names
}

// String is like: 7 of 8 applied revision 93, 1 rejected it (billing-3:
// max_conns: want an integer (int), have "many").
func (s Status) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d of %d applied revision %d", len(s.Applied), s.live(), s.Revision)
	if len(s.Rejected) > 0 {
		reasons := make([]string, len(s.Rejected))
		for i, r := range s.Rejected {
			reasons[i] = r.Name + ": " + r.Rejected.Problem
		}
		fmt.Fprintf(&out, ", %d rejected it (%s)", len(s.Rejected), strings.Join(reasons, "; "))
	}
	if len(s.Waiting) > 0 {
		names := make([]string, len(s.Waiting))
		for i, r := range s.Waiting {
			names[i] = r.Name
		}
		fmt.Fprintf(&out, ", %d waiting (%s)", len(s.Waiting), strings.Join(names, ", "))
	}
	return out.String()
}

// Status returns who has applied a revision. It costs one linearizable range.
func (f *Fleet) Status(ctx context.Context, revision int64) (Status, error) {
	reports, err := f.Reports(ctx)
	return newStatus(revision, reports), err
}

// WaitApplied waits until the condition is met for a revision, such as one that
// Update returned. It returns ErrRejected as soon as it cannot be met any more,
// and ErrNotApplied when ctx ends; the status and the error say who is missing
// and why. It costs a watch of all reports.
func (f *Fleet) WaitApplied(ctx context.Context, revision int64, c Condition) (Status, error) {
	if c.need == nil {
		return Status{}, errors.New("fleet: no condition")
	}
	status := Status{Revision: revision}
	err := f.follow(ctx, revision, func(reports []Report) (bool, error) {
		status = newStatus(revision, reports)
		enough, possible := c.need(status)
		if !enough && !possible {
			return true, fmt.Errorf("%w: %q: wanted %s: %v", ErrRejected, f.name, c.what, status)
		}
		return enough, nil
	})
	switch {
	case err == nil || errors.Is(err, ErrRejected):
		return status, err
	case ctx.Err() != nil:
		return status, fmt.Errorf("%w: %q: wanted %s: %v: %w", ErrNotApplied, f.name, c.what, status, context.Cause(ctx))
	}
	return status, fmt.Errorf("fleet: %q: %w", f.name, err)
}
