package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// lockName is what the nodes compete for.
const lockName = "nightly-report"

// A node stands for a machine: it has a network link, an etcd client and a session of its own.
type node struct {
	name    string
	link    *link
	client  *clientv3.Client
	session *session.Session
	mutex   *lock.Mutex
	events  chan<- event
}

// newNode connects a node with etcd. run, or close, disconnects it.
func newNode(ctx context.Context, name string, etcd clientv3.Config, ttl time.Duration, events chan<- event) (*node, error) {
	n := &node{name: name, link: newLink(), events: events}
	etcd.DialOptions = append(slices.Clone(etcd.DialOptions), grpc.WithContextDialer(n.link.dial))
	var err error
	if n.client, err = clientv3.New(etcd); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	n.session, err = session.New(ctx, n.client,
		session.WithName(name),
		session.WithTTL(ttl),
		session.WithObserver(session.Observer{Granted: n.granted}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), n.client.Close())
	}
	n.mutex = lock.NewMutex(n.session, lockName)
	return n, nil
}

// run takes part until ctx ends, and then closes the node.
func (n *node) run(ctx context.Context, j job) error {
	err := n.compete(ctx, j)
	return errors.Join(err, n.close(ctx))
}

// compete queues up for the lock, works while it is held, and queues up again after a loss. The session needs no
// attention: cut off, it tries to get a new lease for as long as it takes, and Do waits for that.
func (n *node) compete(ctx context.Context, j job) error {
	for {
		var open *attempt
		err := n.mutex.Do(ctx, func(ctx context.Context, held *lock.Held) error {
			open = n.work(ctx, j, held)
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return nil // what Do could not unlock goes with the lease when the session is closed
		case errors.Is(err, session.ErrClosed):
			return fmt.Errorf("%s: %w", n.name, err)
		case err != nil && !errors.Is(err, lock.ErrLost):
			return fmt.Errorf("%s: %w", n.name, err)
		}
		if open != nil {
			n.tryAgain(ctx, j, *open)
		}
	}
}

// An attempt is a tick that was run under a handle.
type attempt struct {
	record record
	held   *lock.Held
}

// tryAgain repeats an attempt that was not answered, as many programs do once the network is back, and long after the
// lock was lost. Everywhere else that is the moment in which data are damaged; here the guard has etcd refuse it.
func (n *node) tryAgain(ctx context.Context, j job, a attempt) {
	err := j.run(ctx, n.client, a.record, a.held)
	if ctx.Err() == nil {
		n.tell(event{what: retried, tick: a.record.Tick, token: a.record.Token, err: err})
	}
}

// work is what a node does while it holds the lock. When it returns, the lock is given up; so it returns only after
// the last tick has ended. ctx ends early enough for that: before etcd can give the lock to another node. It returns
// the tick that etcd did not answer, if there is one.
func (n *node) work(ctx context.Context, j job, held *lock.Held) (open *attempt) {
	if ctx.Err() != nil {
		return nil // everything ends; the lock came because the node before has unlocked it
	}
	n.tell(event{what: holds, token: held.Token()})
	j.schedule(ctx,
		func(tick int64) error {
			open = &attempt{record{Tick: tick, Node: n.name, Token: held.Token()}, held}
			// ctx says whether to begin a tick. The handle's own context ends only with the lock, so that a tick
			// which is under way when the program is told to end is still finished.
			return j.run(held.Context(), n.client, open.record, held)
		},
		func(tick int64, err error) {
			n.tell(event{what: ran, tick: tick, token: held.Token(), err: err})
			if err == nil || errors.Is(err, errOvertaken) {
				open = nil // etcd has answered
			}
		})
	if cause := context.Cause(ctx); errors.Is(cause, lock.ErrLost) {
		n.tell(event{what: stopped, token: held.Token(), err: cause})
	}
	return open
}

// close gives the lease back. ctx may have ended, which is no reason to leave anything behind.
func (n *node) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	return errors.Join(n.session.Close(ctx), n.client.Close())
}

// granted is called by the session for each new lease.
func (n *node) granted(g session.Grant) {
	n.tell(event{what: leased, epoch: g.Epoch, lease: g.Lease})
}

// tell sends an event with the time at which it happened; the story may be told a moment later.
func (n *node) tell(e event) {
	e.node, e.at = n, time.Now()
	n.events <- e
}
