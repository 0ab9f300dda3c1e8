package world

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Play lets the faults of a schedule happen, counted from now, and returns when
// its length has passed and everything is mended, or earlier when ctx ends. A
// fault of a node that does not exist at that moment is left out. An error
// means that the world itself is broken.
func (w *World) Play(ctx context.Context, s Schedule) error {
	byTarget := make(map[string][]Fault)
	for _, f := range s.Faults {
		byTarget[f.Node] = append(byTarget[f.Node], f)
	}
	started := time.Now()
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		errs  []error
	)
	// One goroutine for each target: a server that takes a second to come back
	// must not put off the faults of the nodes.
	for _, faults := range byTarget {
		group.Go(func() {
			if err := w.playFor(ctx, started, faults); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	_ = sleepUntil(ctx, started.Add(s.Length))
	group.Wait()
	return errors.Join(errs...)
}

func (w *World) playFor(ctx context.Context, started time.Time, faults []Fault) error {
	for _, f := range faults {
		if sleepUntil(ctx, started.Add(f.At)) != nil {
			return nil
		}
		undo, err := w.strike(ctx, f)
		if err != nil {
			return err
		}
		// When ctx ends what is broken is mended nevertheless.
		_ = sleepUntil(ctx, started.Add(f.At+f.Hold))
		if err := undo(); err != nil && w.ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// strike makes a fault happen and returns what ends it.
func (w *World) strike(ctx context.Context, f Fault) (undo func() error, err error) {
	nothing := func() error { return nil }
	switch f.Kind {
	case Crash:
		w.CrashServer()
		return w.RestartServer, nil
	case Compact:
		if err := w.Compact(ctx); err != nil && ctx.Err() == nil {
			return nil, err
		}
		return nothing, nil
	}
	n := w.Node(f.Node)
	if n == nil {
		return nothing, nil
	}
	mend := func() error { n.Mend(); return nil }
	switch f.Kind {
	case Cut:
		n.Cut()
		return mend, nil
	case CutRequests:
		n.CutRequests()
		return mend, nil
	case CutAnswers:
		n.CutAnswers()
		return mend, nil
	case LoseAnswers:
		n.CutAnswers()
		return func() error { n.Reset(); n.Mend(); return nil }, nil
	case Slow:
		n.Delay(f.Delay, f.Delay)
		return func() error { n.Delay(0, 0); return nil }, nil
	case Reset:
		n.Reset()
	case Strand:
		n.Strand()
	}
	return nothing, nil
}

func sleepUntil(ctx context.Context, t time.Time) error { return sleep(ctx, time.Until(t)) }
