package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Close ends the session: it cancels the epoch's context with the cause
// ErrClosed, waits for the session's goroutines and for work begun with
// Epoch.Work, and revokes the lease, which deletes all keys that hang on it.
// When it returns nil, nothing of the session runs or is left in etcd.
//
// If ctx ends first, Close returns an error and what remains in etcd runs out
// with the lease; renewals have ended either way. Close can be called again to
// wait further, and any number of times after it returned nil. Calling it from
// inside work that it must wait for lasts until ctx ends.
func (s *Session) Close(ctx context.Context) error {
	s.shut()
	select {
	case s.closing <- struct{}{}:
		defer func() { <-s.closing }()
	case <-ctx.Done():
		return fmt.Errorf("session: close: %w", context.Cause(ctx))
	}
	if s.revoked {
		return nil
	}
	// The lease is not given back before all work has returned: that would hand
	// over what is still in use.
	if !wait(ctx, s.stopped) || !wait(ctx, s.tasks.idle()) {
		if s.tasks.running() {
			return fmt.Errorf("session: close: %w: %w", ErrWorkRunning, context.Cause(ctx))
		}
		return fmt.Errorf("session: close: %w", context.Cause(ctx))
	}
	// Read only now: the run loop may have begun one more epoch.
	if err := s.giveBack(ctx, s.last()); err != nil {
		return err
	}
	s.revoked = true
	return nil
}

// shut makes every use of the session fail and ends the run loop.
func (s *Session) shut() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.changed)
		s.changed = make(chan struct{})
	}
	s.mu.Unlock()
	s.stop()
}

func (s *Session) last() *Epoch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// giveBack revokes the lease of the last epoch, and what was to linger behind it
// if it had been lost. Nobody renews it any more, so after its TTL there is
// nothing left to give back.
func (s *Session) giveBack(ctx context.Context, e *Epoch) error {
	ctx, cancel := context.WithTimeout(ctx, e.ttl)
	defer cancel()
	leases := []clientv3.LeaseID{e.lease}
	if errors.Is(context.Cause(e.ctx), ErrClosed) {
		leases = append(leases, e.lingers.all()...)
	}
	for failures := 1; ; failures++ {
		err := s.revokeLease(ctx, e, leases[0])
		if err == nil {
			if leases = leases[1:]; len(leases) == 0 {
				return nil
			}
			continue
		}
		pause(ctx, backoff(failures, 20*time.Millisecond, time.Second))
		if ctx.Err() != nil {
			return fmt.Errorf("session: close: lease %s is left to run out: %w", hex(leases[0]), err)
		}
	}
}

// wait waits for done and tells whether it came before the end of ctx.
func wait(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
