//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// open connects and takes a lease.
func (l *lockCommand) open(ctx context.Context, signals *signals) (s *session.Session, closeAll func(), err error) {
	client, err := l.connect()
	if err != nil {
		return nil, nil, err
	}
	opts := []session.Option{session.WithTTL(l.ttl), session.WithNamespace(l.namespace)}
	if l.session != "" {
		opts = append(opts, session.WithName(l.session))
	}
	ctx, done := signals.end(ctx)
	defer done()
	limited, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	s, err = session.New(limited, client, opts...)
	if err != nil {
		defer client.Close()
		switch {
		case errors.Is(err, session.ErrConfig):
			return nil, nil, fail(exitUsage, "%w", err)
		case ctx.Err() != nil:
			return nil, nil, interrupted(ctx, "connecting to etcd")
		}
		return nil, nil, l.explain(client, err)
	}
	return s, func() {
		ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
		defer cancel()
		// Whatever is left after that runs out with the lease, and nobody renews it any more.
		_ = s.Close(ctx)
		_ = client.Close()
	}, nil
}

// acquire waits for the lock as long as it was told to. A signal ends the waiting.
func (l *lockCommand) acquire(ctx context.Context, signals *signals, s *session.Session, m *lock.Mutex) (*lock.Held, error) {
	ctx, done := signals.end(ctx)
	defer done()
	held, err := l.attempt(ctx, s, m)
	if ctx.Err() != nil { // even if the lock was had in the same moment
		if held != nil {
			_ = l.unlock(held) // what fails here is made good for by closing the session
		}
		return nil, interrupted(ctx, fmt.Sprintf("waiting for lock %q", l.String()))
	}
	switch {
	case err == nil:
		return held, nil
	case errors.Is(err, lock.ErrLocked):
		return nil, fail(exitNotHad, "lock %q is taken%s", l.String(), l.holder(ctx, m))
	case errors.Is(err, errWaited):
		return nil, fail(exitNotHad, "lock %q was not had within %v%s", l.String(), l.wait, l.holder(ctx, m))
	case errors.Is(err, lock.ErrName):
		return nil, fail(exitUsage, "%w", err)
	}
	return nil, l.explain(s.Client(), err)
}

func (l *lockCommand) attempt(ctx context.Context, s *session.Session, m *lock.Mutex) (*lock.Held, error) {
	if l.try {
		ctx, cancel := context.WithTimeout(ctx, l.timeout)
		defer cancel()
		return m.TryLock(ctx)
	}
	if l.wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, l.wait, errWaited)
		defer cancel()
	}
	for {
		held, err := m.Lock(ctx)
		if !errors.Is(err, lock.ErrLost) || ctx.Err() != nil {
			return held, err
		}
		// An outage, or somebody's hand, cost the place in the queue. The session gets a new lease by itself; what
		// is left of the outage is like one at the start.
		fmt.Fprintf(os.Stderr, "tenure: %s; queueing up again\n", oneLine(err.Error()))
		if err := l.heal(ctx, s); err != nil {
			return nil, err
		}
	}
}

// heal waits until the session has a lease again.
func (l *lockCommand) heal(ctx context.Context, s *session.Session) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	_, err := s.Epoch(ctx)
	return err
}

// holder says who has the lock, if that can be found out.
func (l *lockCommand) holder(ctx context.Context, m *lock.Mutex) string {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	queue, err := m.Queue(ctx)
	switch {
	case err != nil || len(queue) == 0:
		return ""
	case queue[0].Owner.Session == "":
		return fmt.Sprintf(": another program has it (lease %s)", leaseID(queue[0].Lease))
	}
	owner := queue[0].Owner
	return fmt.Sprintf(": %s has it (process %d on %s, since %s)",
		cell(owner.Session), owner.PID, cell(owner.Host), instant(owner.Since))
}
