package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// An Epoch is the life of one lease. Everything acquired through a session
// belongs to one epoch and ends with it; after a loss the session begins a new
// epoch with a new lease, and nothing is carried over.
//
// All methods are safe for concurrent use and none of them talks to etcd
// unless it takes a context.
type Epoch struct {
	session *Session
	number  uint64
	lease   clientv3.LeaseID
	ttl     time.Duration
	cluster uint64

	deadline *deadline
	ctx      context.Context
	cancel   context.CancelCauseFunc
	kick     chan struct{} // wakes the watchdog: the deadline was seen to have passed
	audits   chan struct{} // wakes the auditor

	end     sync.Once
	track   tracker
	lingers lingers
	fences  atomic.Int64          // how many fences were closed
	refused atomic.Pointer[error] // what the last attempt to renew said, if it failed
}

func newEpoch(s *Session, number uint64, grant *pb.LeaseGrantResponse, sent time.Duration) *Epoch {
	ttl := time.Duration(grant.TTL) * time.Second
	ctx, cancel := context.WithCancelCause(context.Background())
	e := &Epoch{
		session:  s,
		number:   number,
		lease:    clientv3.LeaseID(grant.ID),
		ttl:      ttl,
		cluster:  grant.Header.ClusterId,
		deadline: newDeadline(s.clock, sent, life(ttl)),
		ctx:      ctx,
		cancel:   cancel,
		kick:     make(chan struct{}, 1),
		audits:   make(chan struct{}, 1),
		lingers:  lingers{granting: make(chan struct{}, 1)},
	}
	return e
}

// life is how long a lease is trusted after the sending of an answered
// request: its TTL less a margin of a tenth, at most a second and at least a
// fifth of one. The margin is what clocks may disagree about over one TTL, and
// the time between the end of a context and the earliest instant at which etcd
// can give things to somebody else.
func life(ttl time.Duration) time.Duration {
	return ttl - min(max(ttl/10, 200*time.Millisecond), time.Second)
}

// Session returns the session that the epoch belongs to.
func (e *Epoch) Session() *Session { return e.session }

// Number counts the session's epochs from 1.
func (e *Epoch) Number() uint64 { return e.number }

// Lease returns the lease to attach keys to. Keys attached to it vanish
// together when the epoch ends.
func (e *Epoch) Lease() clientv3.LeaseID { return e.lease }

// TTL returns the lease's time to live as etcd granted it, which may be longer
// than asked for.
func (e *Epoch) TTL() time.Duration { return e.ttl }

// Margin is the time between the end of the epoch's context, if it is lost to
// its deadline, and the earliest instant at which etcd can give what hangs on
// the lease to somebody else: what work that is told to stop has for stopping.
func (e *Epoch) Margin() time.Duration { return e.ttl - life(e.ttl) }

// Cluster returns the id of the etcd cluster that granted the lease.
func (e *Epoch) Cluster() uint64 { return e.cluster }

// Context is cancelled when the epoch ends, before etcd can let the lease run
// out. Its cause is a *LossError, or ErrClosed.
func (e *Epoch) Context() context.Context { return e.ctx }

// Valid tells whether the lease is certainly alive. It reads a clock that
// counts through suspends, so it is right even in the first instruction after
// a pause, when the context has not been cancelled yet. Once false it stays
// false.
func (e *Epoch) Valid() bool {
	if e.deadline.valid() {
		return true
	}
	signal(e.kick)
	return false
}

// Remaining is how long the lease is certainly alive if no further renewal
// succeeds; zero once Valid is false.
func (e *Epoch) Remaining() time.Duration { return e.deadline.remaining() }

// Err returns nil while the epoch is valid, and then why it ended.
func (e *Epoch) Err() error {
	if e.Valid() {
		return nil
	}
	<-e.ctx.Done() // Valid has woken the watchdog, which does no I/O
	return context.Cause(e.ctx)
}

// finish ends the epoch, once: the deadline is closed first, so that Valid is
// false before anybody is told.
func (e *Epoch) finish(cause error) {
	e.end.Do(func() {
		e.deadline.pass()
		e.cancel(cause)
		e.track.end(cause)
	})
}

// run keeps the epoch until it is lost or ctx ends, and returns when all its
// goroutines have.
func (e *Epoch) run(ctx context.Context, sent time.Duration) {
	var wg sync.WaitGroup
	wg.Go(func() { e.renew(sent) })
	wg.Go(e.watchKey)
	wg.Go(e.audit)
	e.watchdog(ctx)
	wg.Wait()
}

// watchdog ends the epoch at its deadline. A Go timer stands still during a
// suspend, so it never sleeps for long at a stretch.
func (e *Epoch) watchdog(ctx context.Context) {
	nap := max(e.ttl/10, 100*time.Millisecond)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		left := e.deadline.remaining()
		if left == 0 {
			e.lose(ReasonDeadline, e.lastError())
			return
		}
		timer.Reset(min(left, nap))
		select {
		case <-timer.C:
		case <-e.kick:
		case <-e.ctx.Done():
			return
		case <-ctx.Done():
			e.finish(ErrClosed)
			return
		}
	}
}

func (e *Epoch) lose(reason Reason, err error) {
	e.finish(&LossError{Lease: e.lease, Reason: reason, Err: err})
}

// signal wakes whoever listens on a channel of capacity one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
