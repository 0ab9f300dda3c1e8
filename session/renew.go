package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// renew keeps the lease alive until the epoch ends. It renews three times per
// TTL; an attempt that fails is repeated soon, and each has a time limit that
// leaves room for several before the deadline, because the balancer sends
// each one to another endpoint and one of them may be dead.
func (e *Epoch) renew(sent time.Duration) {
	clock := e.session.clock
	wait := e.ttl/3 - (clock.Now() - sent)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for failures := 0; ; {
		select {
		case <-timer.C:
		case <-e.ctx.Done():
			return
		}
		// The instant is taken before anything is sent: the server counts the
		// new TTL from a later one.
		sent := clock.Now()
		err := e.renewOnce()
		if e.ctx.Err() != nil {
			return // ended meanwhile; the attempt says nothing about etcd
		}
		if err == nil && !e.deadline.extend(sent, life(e.ttl)) {
			signal(e.kick) // the answer came too late; the epoch stays lost
			return
		}
		e.note(err)
		e.session.observeRenewal(e, clock.Now()-sent, err)
		switch {
		case err == nil:
			failures = 0
			signal(e.audits)
			// A little early at random, so that sessions that were started
			// together do not renew together for ever.
			timer.Reset(e.ttl/3 - rand.N(e.ttl/30))
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			e.lose(ReasonGone, nil)
			return
		default:
			failures++
			e.session.log.Debug("renewal failed", "lease", hex(e.lease), "attempt", failures, "err", err)
			timer.Reset(backoff(failures, 20*time.Millisecond, e.ttl/20))
		}
	}
}

// renewOnce is one attempt, with the epoch's time limit for one.
func (e *Epoch) renewOnce() error {
	ctx, cancel := context.WithTimeout(e.ctx, e.attemptTimeout())
	defer cancel()
	// What lingers is renewed first and on the same stream: it must not be found
	// to have been renewed earlier than the lease that it is to outlive.
	gone, err := keepAlive(ctx, e.session.client, append(e.lingers.all(), e.lease))
	for _, lease := range gone {
		if lease == e.lease {
			return rpctypes.ErrLeaseNotFound
		}
		e.session.log.Warn("a lingering lease is gone", "lease", hex(lease))
		e.lingers.gone(lease)
	}
	return err
}

// attemptTimeout is how long one request may take that the lease depends on.
func (e *Epoch) attemptTimeout() time.Duration {
	return min(max(life(e.ttl)/5, 200*time.Millisecond), 5*time.Second)
}

// note remembers what the last attempt said, for the cause of a loss.
func (e *Epoch) note(err error) {
	if err == nil {
		e.refused.Store(nil)
		return
	}
	e.refused.Store(&err)
}

func (e *Epoch) lastError() error {
	if err := e.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// keepAlive renews leases once, one after the other: one short stream, a request
// and an answer for each. It returns those that etcd does not know; after an
// error what comes behind was not renewed, or nobody knows.
// The client's own KeepAliveOnce repeats failed attempts without a pause and
// its KeepAlive stays with one endpoint.
func keepAlive(ctx context.Context, client *clientv3.Client, leases []clientv3.LeaseID) (gone []clientv3.LeaseID, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	stream, err := pb.NewLeaseClient(client.ActiveConnection()).LeaseKeepAlive(ctx)
	if err != nil {
		return nil, fmt.Errorf("open a keepalive stream: %w", clientv3.ContextError(ctx, err))
	}
	for _, lease := range leases {
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(lease)}); err != nil {
			return nil, fmt.Errorf("send a keepalive: %w", clientv3.ContextError(ctx, err))
		}
	}
	for _, lease := range leases {
		answer, err := stream.Recv()
		if err != nil {
			return gone, fmt.Errorf("receive a keepalive: %w", clientv3.ContextError(ctx, err))
		}
		if answer.TTL <= 0 {
			gone = append(gone, lease)
		}
	}
	return gone, nil
}

// backoff is the pause before attempt n+1: doubling from low to high, and
// somewhere in its upper half.
func backoff(n int, low, high time.Duration) time.Duration {
	d := max(min(high, low<<min(n-1, 20)), low)
	return d/2 + rand.N(d/2+1)
}

func hex(lease clientv3.LeaseID) string { return fmt.Sprintf("%x", int64(lease)) }
