package world

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// outageLimit is how long a restarted server and the observers may take, in
// virtual time. It is far above what they need: only a defect reaches it.
const outageLimit = time.Minute

// markerKey is written by the world itself, so that observers have something to
// see after a restart.
const markerKey = "world/marker"

// CrashServer ends the server as a kill does: connections end without a word,
// answers under way are the last ones, and dialling is refused. What reached it
// may have been committed without an answer, and what was committed is kept. It
// does nothing while the server is down.
func (w *World) CrashServer() {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	w.crash()
}

func (w *World) crash() {
	w.doors.Store(false)
	s := w.server.Load()
	if s == nil {
		return
	}
	w.tellLink("", false)
	for _, n := range w.everyNode() {
		n.link.hangUp()
	}
	// To the nodes it is gone. The observers see what it did to the end, or
	// they would date its last changes when it is back.
	ctx, cancel := context.WithTimeout(w.ctx, outageLimit)
	defer cancel()
	_ = sleep(ctx, time.Millisecond) // for what is just being committed
	if err := w.keepUp(ctx, s.etcd.KV().Rev()); err != nil && w.ctx.Err() == nil {
		w.t.Error(err)
	}
	w.server.Store(nil)
	s.crash()
}

// RestartServer starts the server again on the same data, after a crash if it
// is up, and returns when it lets the nodes in. That takes about a second:
// it elects itself, and the observers catch up (see KeepUp). Leases have their
// full TTL again, as after every change of the leader.
func (w *World) RestartServer() error {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	w.crash()
	s, err := boot(w.dir, false, w.cfg.Logger)
	if err != nil {
		return err
	}
	w.server.Store(s)
	ctx, cancel := context.WithTimeout(w.ctx, outageLimit)
	defer cancel()
	// Observers first: a watch that has resumed only after the nodes' writes
	// would date them later than they were.
	if err := w.letObserversCatchUp(ctx); err != nil {
		return err
	}
	w.doors.Store(true)
	w.tellLink("", true)
	return nil
}

func (w *World) letObserversCatchUp(ctx context.Context) error {
	for {
		put, err := w.Direct().Put(ctx, markerKey, w.Now().String())
		if err == nil {
			return w.keepUp(ctx, put.Header.Revision)
		}
		// Not connected yet.
		if serr := sleep(ctx, 10*time.Millisecond); serr != nil {
			return errors.Join(fmt.Errorf("world: the server does not come back: %w", serr), err)
		}
	}
}

func (w *World) keepUp(ctx context.Context, revision int64) error {
	w.mu.Lock()
	keepUps := w.keepUps
	w.mu.Unlock()
	for _, f := range keepUps {
		if err := f(ctx, revision); err != nil {
			return fmt.Errorf("world: an observer did not reach revision %d: %w", revision, err)
		}
	}
	return nil
}

// Compact makes the server forget all history up to its current revision, after
// the observers have seen it. Whoever lags is told of a compaction. It fails
// while the server is down.
func (w *World) Compact(ctx context.Context) error {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	if w.server.Load() == nil {
		return errors.New("world: compaction: the server is down")
	}
	now, err := w.Direct().Get(ctx, markerKey)
	if err != nil {
		return fmt.Errorf("world: compaction: %w", err)
	}
	if err := w.keepUp(ctx, now.Header.Revision); err != nil {
		return err
	}
	_, err = w.Direct().Compact(ctx, now.Header.Revision)
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) { // nothing was written since the last time
		return fmt.Errorf("world: compaction: %w", err)
	}
	return nil
}
