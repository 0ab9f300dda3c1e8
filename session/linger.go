package session

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// lingers are the leases of an epoch that outlive its own, by how long.
type lingers struct {
	granting chan struct{} // held while one is granted; capacity 1

	mu     sync.Mutex
	leases map[time.Duration]clientv3.LeaseID
}

// Linger returns a lease that is renewed with the epoch's for as long as that
// lives, and runs out by itself when it is lost: not before delay has passed
// since the end of the epoch's own lease, and up to three seconds later, because
// etcd counts in seconds. What hangs on it tells others that the session has
// died. Close revokes it.
//
// The first call for a delay costs one request; it is one attempt.
func (e *Epoch) Linger(ctx context.Context, delay time.Duration) (clientv3.LeaseID, error) {
	select {
	case e.lingers.granting <- struct{}{}:
		defer func() { <-e.lingers.granting }()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	if lease, ok := e.lingers.get(delay); ok {
		return lease, e.Err()
	}
	// A second more than asked for: the two renewals are not one instant, and
	// etcd looks for leases that have run out twice a second.
	ttl := (e.ttl + delay + 2*time.Second - 1) / time.Second
	ctx, cancel := context.WithTimeout(ctx, max(e.attemptTimeout(), 2*time.Second))
	defer cancel()
	resp, err := pb.NewLeaseClient(e.session.client.ActiveConnection()).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: int64(ttl)})
	if err != nil {
		return 0, fmt.Errorf("session: a lingering lease: %w", clientv3.ContextError(ctx, err))
	}
	lease := clientv3.LeaseID(resp.ID)
	e.lingers.mu.Lock()
	defer e.lingers.mu.Unlock()
	if e.lingers.leases == nil {
		e.lingers.leases = make(map[time.Duration]clientv3.LeaseID)
	}
	e.lingers.leases[delay] = lease
	return lease, e.Err()
}

func (l *lingers) get(delay time.Duration) (clientv3.LeaseID, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lease, ok := l.leases[delay]
	return lease, ok
}

func (l *lingers) all() []clientv3.LeaseID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []clientv3.LeaseID
	for _, lease := range l.leases {
		all = append(all, lease)
	}
	return all
}

// gone forgets a lease that etcd no longer knows: somebody has revoked it. The
// next one who needs it gets another.
func (l *lingers) gone(lease clientv3.LeaseID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for delay, known := range l.leases {
		if known == lease {
			delete(l.leases, delay)
		}
	}
}
