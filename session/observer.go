package session

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// An Observer is told what happens to a session's lease; it is what metrics
// are made of. Nil functions are skipped. The functions are called one at a
// time from the session's own goroutines and must return at once.
type Observer struct {
	// Granted is called for every new epoch, the first one included.
	Granted func(Grant)
	// Renewed is called for every attempt to renew, failed ones included.
	Renewed func(Renewal)
	// Lost is called once for an epoch that was lost, not for one that was
	// closed.
	Lost func(*LossError)
}

// A Grant is a lease that etcd granted.
type Grant struct {
	Epoch   uint64
	Lease   clientv3.LeaseID
	TTL     time.Duration // as granted
	Latency time.Duration
}

// A Renewal is one attempt to renew a lease.
type Renewal struct {
	Epoch     uint64
	Lease     clientv3.LeaseID
	Latency   time.Duration // from sending to the answer, or to giving up
	Remaining time.Duration // until the local deadline, after this attempt
	Err       error         // nil if it was answered
}

func (s *Session) observeGrant(e *Epoch, latency time.Duration) {
	if s.cfg.observer.Granted != nil {
		s.cfg.observer.Granted(Grant{Epoch: e.number, Lease: e.lease, TTL: e.ttl, Latency: latency})
	}
}

func (s *Session) observeRenewal(e *Epoch, latency time.Duration, err error) {
	if s.cfg.observer.Renewed != nil {
		s.cfg.observer.Renewed(Renewal{
			Epoch: e.number, Lease: e.lease, Latency: latency, Remaining: e.Remaining(), Err: err,
		})
	}
}
