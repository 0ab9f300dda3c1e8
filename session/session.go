package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/clock"
)

// createTimeout bounds New when its context has no deadline.
const createTimeout = 30 * time.Second

// A Session owns a lease, keeps it alive, and gets a new one when it is lost.
// All primitives of a process normally share one session. All methods are safe
// for concurrent use.
type Session struct {
	client      *clientv3.Client
	clock       clock.Clock
	cfg         config
	log         *slog.Logger
	description string // the value of the session's key
	cluster     uint64

	stop    context.CancelFunc // ends the run loop and the current epoch
	stopped chan struct{}      // closed once the run loop has returned
	closing chan struct{}      // held while Close revokes; capacity 1
	tasks   tasks              // what must have ended before Close returns
	shared  registry

	mu      sync.Mutex
	current *Epoch        // nil while there is no lease
	changed chan struct{} // closed when current or closed changes
	closed  bool
	revoked bool // what the last epoch held is gone, or will run out
}

// New obtains a lease and keeps it alive until Close. ctx bounds the creation
// only, not the session's life; without a deadline New gives up after half a
// minute. The client stays the caller's and must outlive the session.
//
// It costs one lease and one put, and then one renewal per third of the TTL
// and one watch of the session's own key.
func New(ctx context.Context, client *clientv3.Client, opts ...Option) (*Session, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, fmt.Errorf("%w: the client is nil", ErrConfig)
	}
	description, err := json.Marshal(newInfo(cfg.name))
	if err != nil {
		return nil, fmt.Errorf("session: describe: %w", err)
	}
	life, stop := context.WithCancel(context.Background())
	s := &Session{
		client:      client,
		clock:       clock.FromContext(ctx),
		cfg:         cfg,
		log:         cfg.log.With("session", cfg.name),
		description: string(description),
		stop:        stop,
		stopped:     make(chan struct{}),
		closing:     make(chan struct{}, 1),
		changed:     make(chan struct{}),
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, createTimeout)
		defer cancel()
	}
	first, sent, err := s.begin(ctx, 1)
	if err != nil {
		stop()
		return nil, fmt.Errorf("session: no lease: %w", err)
	}
	s.cluster = first.cluster
	s.publish(first)
	go s.run(life, first, sent)
	return s, nil
}

// Client returns the client that New was given.
func (s *Session) Client() *clientv3.Client { return s.client }

// Name returns the session's name, see WithName.
func (s *Session) Name() string { return s.cfg.name }

// Namespace returns the key prefix under which the session's things live. It
// ends in a slash.
func (s *Session) Namespace() string { return string(s.cfg.space) }

// Cluster returns the id of the etcd cluster that the session is in.
func (s *Session) Cluster() uint64 { return s.cluster }

// Epoch returns the current epoch. While the session has no lease it waits for
// one, until ctx ends; after Close it returns ErrClosed.
func (s *Session) Epoch(ctx context.Context) (*Epoch, error) {
	for {
		s.mu.Lock()
		current, changed, closed := s.current, s.changed, s.closed
		s.mu.Unlock()
		if closed {
			return nil, ErrClosed
		}
		if current != nil && current.Valid() {
			return current, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("session: no lease at present: %w", context.Cause(ctx))
		}
	}
}

// run keeps one epoch after the other until the session is closed.
func (s *Session) run(ctx context.Context, epoch *Epoch, sent time.Duration) {
	defer close(s.stopped)
	for {
		epoch.run(ctx, sent)
		if ctx.Err() != nil {
			epoch.finish(ErrClosed)
			return
		}
		s.lost(epoch)
		next, sentNext, err := s.begin(ctx, epoch.number+1)
		if err != nil {
			return // only ctx ends the attempts
		}
		epoch, sent = next, sentNext
		s.publish(epoch)
	}
}

// publish makes an epoch the current one.
func (s *Session) publish(e *Epoch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = e
	close(s.changed)
	s.changed = make(chan struct{})
}

// lost takes note of a lost epoch.
func (s *Session) lost(e *Epoch) {
	var loss *LossError
	errors.As(context.Cause(e.ctx), &loss)
	s.log.Warn("lease lost", "lease", hex(e.lease), "epoch", e.number, "reason", loss.Reason, "err", loss.Err)
	if s.cfg.observer.Lost != nil {
		s.cfg.observer.Lost(loss)
	}
	if loss.Reason == ReasonDeadline {
		done := s.tasks.begin()
		go func() {
			defer done()
			s.sweep(e)
		}()
	}
}

// sweep revokes a lease that was lost to the deadline, so that what hangs on
// it does not outlive it: after a change of etcd's leader a lease gets its
// whole TTL again. It waits for the instant at which etcd may let the lease run
// out by itself, so that work which was told to stop has the same time to do so
// as it would have without.
func (s *Session) sweep(e *Epoch) {
	ctx, cancel := context.WithTimeout(context.Background(), e.ttl)
	defer cancel()
	pause(ctx, e.Margin())
	for failures := 1; ctx.Err() == nil; failures++ {
		if s.revoke(ctx, e) == nil {
			return
		}
		pause(ctx, backoff(failures, 50*time.Millisecond, time.Second))
	}
}

// revoke is one attempt to end an epoch's lease.
func (s *Session) revoke(ctx context.Context, e *Epoch) error { return s.revokeLease(ctx, e, e.lease) }

// revokeLease is one attempt to end a lease of an epoch. One that is gone
// already is a success.
func (s *Session) revokeLease(ctx context.Context, e *Epoch, lease clientv3.LeaseID) error {
	ctx, cancel := context.WithTimeout(ctx, max(e.attemptTimeout(), time.Second))
	defer cancel()
	_, err := s.client.Revoke(ctx, lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return err
}

// begin obtains a lease and writes the session's key, trying until ctx ends.
func (s *Session) begin(ctx context.Context, number uint64) (*Epoch, time.Duration, error) {
	for failures := 1; ; failures++ {
		sent := s.clock.Now()
		epoch, err := s.grant(ctx, number, sent)
		if err == nil {
			s.log.Info("lease granted", "lease", hex(epoch.lease), "epoch", number, "ttl", epoch.ttl)
			s.observeGrant(epoch, s.clock.Now()-sent)
			return epoch, sent, nil
		}
		if ctx.Err() != nil {
			return nil, 0, fmt.Errorf("%w (last attempt: %w)", context.Cause(ctx), err)
		}
		if final(err) && number == 1 {
			return nil, 0, err
		}
		s.log.Debug("no lease", "attempt", failures, "err", err)
		pause(ctx, backoff(failures, 50*time.Millisecond, 2*time.Second))
	}
}

// grant is one attempt. A lease whose key could not be written is given back;
// one whose grant was not answered has no keys and runs out by itself.
func (s *Session) grant(ctx context.Context, number uint64, sent time.Duration) (*Epoch, error) {
	attempt, cancel := context.WithTimeout(ctx, max(s.cfg.ttl/2, 2*time.Second))
	defer cancel()
	// Not the client's Grant: it repeats a failed attempt for as long as the
	// context lasts, and then does not say what was wrong.
	resp, err := pb.NewLeaseClient(s.client.ActiveConnection()).
		LeaseGrant(attempt, &pb.LeaseGrantRequest{TTL: int64(s.cfg.ttl / time.Second)})
	if err != nil {
		return nil, clientv3.ContextError(attempt, err)
	}
	epoch := newEpoch(s, number, resp, sent)
	if err := epoch.writeKey(attempt); err != nil {
		epoch.finish(err)
		if unsaid := s.revoke(context.WithoutCancel(ctx), epoch); unsaid != nil {
			s.log.Debug("a lease without keys is left to run out", "lease", hex(epoch.lease), "err", unsaid)
		}
		return nil, err
	}
	return epoch, nil
}

// final tells whether etcd refused for a reason that trying again will not
// change: it reached a member, and that said no.
func final(err error) bool {
	for _, refusal := range []error{
		rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed, rpctypes.ErrAuthNotEnabled,
		rpctypes.ErrUserEmpty, rpctypes.ErrLeaseTTLTooLarge,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}
