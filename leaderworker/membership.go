package leaderworker

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/prefixwatch"
	"github.com/gotenure/tenure/session"
)

// A membership keeps the worker's member key in etcd, under one lease of the
// session after the other.
//
//	await an epoch ─▶ join ─▶ member ─▶ epoch over, or key deleted ─▶ again
//	                   │ ▲
//	   another process ▼ │ its key is gone
//	   has the name: await
type membership struct {
	session *session.Session
	pool    keys.Pool
	worker  string
	log     *slog.Logger
	joined  func(*session.Epoch) // the worker can claim
	parted  func()               // it cannot

	mu      sync.Mutex
	record  memberRecord
	changed chan struct{} // capacity 1: the record has changed

	// Of the goroutine in keep, and of leave after it.
	epoch  *session.Epoch
	create int64          // the member key's create revision, 0 if it is not there
	mod    int64          // its mod revision, as far as known
	doubt  *session.Fence // of an attempt to write the key whose outcome is unknown
}

func (m *membership) key() string { return m.pool.Key(keys.Members, m.worker) }

// change changes what the worker says about itself.
func (m *membership) change(f func(*memberRecord)) {
	m.mu.Lock()
	f(&m.record)
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *membership) value() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return encode(m.record)
}

// keep is a member until ctx ends, or the session does: only that is an error.
func (m *membership) keep(ctx context.Context) error {
	for {
		epoch, err := m.session.Epoch(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		m.epoch = epoch
		if err := m.stay(ctx, epoch); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// stay is a member for as long as the epoch lasts and the key is there.
func (m *membership) stay(ctx context.Context, epoch *session.Epoch) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(epoch.Context(), func() { cancel(context.Cause(epoch.Context())) })()
	if err := m.join(inner, epoch); err != nil {
		if inner.Err() != nil {
			return nil
		}
		return err
	}
	tracked := &session.Tracked{Key: m.key(), Revision: m.create, Lost: func(cause error) { cancel(cause) }}
	if epoch.Track(tracked) != nil {
		return nil // over already
	}
	defer epoch.Untrack(tracked)
	m.joined(epoch)
	defer m.parted()
	for failures := 0; ; {
		select {
		case <-m.changed:
		case <-inner.Done():
			return nil
		}
		for m.update(inner) != nil && inner.Err() == nil {
			leasekey.Pause(inner, failures)
			failures++
		}
		failures = 0
	}
}

// errTaken says that the member key is another process's.
var errTaken = errors.New("another process has this worker's name")

// join creates the member key, or takes over the one of an earlier epoch, until
// it has or ctx ends. An error that ctx has not caused is final.
func (m *membership) join(ctx context.Context, epoch *session.Epoch) error {
	warned := false
	for failures := 0; ctx.Err() == nil; failures++ {
		err := m.tryJoin(ctx, epoch)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errTaken):
			if !warned {
				m.log.Warn("another process has this worker's name: waiting until it is gone")
				warned = true
			}
			awaitGone(ctx, m.session.Client(), m.key())
			continue
		case hopeless(err):
			return err
		}
		epoch.Report(err)
		m.log.Debug("not joined", "attempt", failures, "err", err)
		leasekey.Pause(ctx, failures)
	}
	return context.Cause(ctx)
}

// tryJoin looks what is there and writes what is to be there, in one attempt.
func (m *membership) tryJoin(ctx context.Context, epoch *session.Epoch) error {
	there, err := m.find(ctx, epoch)
	switch {
	case err != nil:
		return err
	case m.create > 0 && there.Run != m.record.Run:
		return errTaken
	}
	fence := epoch.Fence()
	txn, cancel := leasekey.Begin(ctx, m.session.Client())
	put, err := txn.If(clientv3.Compare(clientv3.ModRevision(m.key()), "=", m.mod), fence.Cmp()).
		Then(clientv3.OpPut(m.key(), m.value(), clientv3.WithLease(epoch.Lease()))).Commit()
	cancel()
	switch {
	case err != nil:
		if !leasekey.Refused(err) {
			m.doubt = &fence
		}
		return err
	case !put.Succeeded:
		epoch.Closed(fence) // or somebody else was faster; either way, look again
		return errors.New("the member key was written meanwhile")
	}
	if m.mod = put.Header.Revision; m.create == 0 {
		m.create = m.mod
	}
	return nil
}

// find reads the member key, after making sure that no earlier attempt can still
// write it.
func (m *membership) find(ctx context.Context, epoch *session.Epoch) (there memberRecord, err error) {
	if m.doubt != nil {
		// A fence of an earlier epoch is closed under this one's lease: the
		// write cannot be applied anyway, because its lease is gone or going.
		if _, err := epoch.Settle(ctx, *m.doubt, m.key()); err != nil {
			return memberRecord{}, err
		}
		m.doubt = nil
	}
	ctx, cancel := context.WithTimeout(ctx, prefixwatch.ReadTimeout)
	defer cancel()
	resp, err := m.session.Client().Get(ctx, m.key())
	if err != nil {
		return memberRecord{}, err
	}
	m.create, m.mod = 0, 0
	if len(resp.Kvs) == 1 {
		m.create, m.mod = resp.Kvs[0].CreateRevision, resp.Kvs[0].ModRevision
		_ = json.Unmarshal(resp.Kvs[0].Value, &there) // somebody else's, if it is none
	}
	return there, nil
}

// update writes the record anew, in one attempt, if the key is still the one of
// this membership. An attempt that arrives late finds another mod revision.
func (m *membership) update(ctx context.Context) error {
	txn, cancel := leasekey.Begin(ctx, m.session.Client())
	defer cancel()
	resp, err := txn.
		If(clientv3.Compare(clientv3.CreateRevision(m.key()), "=", m.create), clientv3.Compare(clientv3.ModRevision(m.key()), "=", m.mod)).
		Then(clientv3.OpPut(m.key(), m.value(), clientv3.WithLease(m.epoch.Lease()))).
		Else(clientv3.OpGet(m.key(), clientv3.WithKeysOnly())).
		Commit()
	if err != nil {
		m.epoch.Report(err)
		return err
	}
	if resp.Succeeded {
		m.mod = resp.Header.Revision
		return nil
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 1 && kvs[0].CreateRevision == m.create {
		m.mod = kvs[0].ModRevision // an earlier attempt was applied
		return errors.New("the member key was written meanwhile")
	}
	return nil // it is gone, which the session tells
}

// leave deletes the member key and the worker's assignment, until that is done or
// the lease takes the key along. It is called after keep has returned and
// everything is released.
func (m *membership) leave() {
	if m.epoch == nil {
		return
	}
	ctx := m.epoch.Context()
	for failures := 0; ctx.Err() == nil; failures++ {
		err := m.tryLeave(ctx)
		if err == nil {
			return
		}
		m.epoch.Report(err)
		leasekey.Pause(ctx, failures)
	}
}

func (m *membership) tryLeave(ctx context.Context) error {
	there, err := m.find(ctx, m.epoch)
	if err != nil || there.Run != m.record.Run {
		return err
	}
	txn, cancel := leasekey.Begin(ctx, m.session.Client())
	defer cancel()
	_, err = txn.If(clientv3.Compare(clientv3.CreateRevision(m.key()), "=", m.create)).
		Then(clientv3.OpDelete(m.key()), clientv3.OpDelete(m.pool.Key(keys.Assigned, m.worker))).Commit()
	return err
}

// overdue says which shards' Work does not return.
func (m *membership) overdue(shards []string) {
	m.change(func(r *memberRecord) { r.Overdue = slices.Clone(shards[:min(len(shards), maxUnplaced)]) })
}

// newMemberRecord is what a worker says about itself when it joins.
func newMemberRecord(cfg *Config, run string) memberRecord {
	host, pid := hostAndPID()
	return memberRecord{
		Run: run, Session: cfg.Session.Name(), Host: host, PID: pid, Since: stamp(time.Now()),
		Share: max(cfg.Share, 1), Capacity: cfg.Capacity, Labels: cfg.Labels,
	}
}
