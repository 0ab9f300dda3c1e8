package session

import (
	"context"
	"errors"
	"fmt"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Tracked key is one that an owner keeps under an epoch's lease and wants to
// hear of when it is gone: with the lease, or deleted by somebody else.
type Tracked struct {
	Key      string
	Revision int64 // the key's create revision
	// Lost is called at most once, with the cause, from a goroutine of the
	// session; it must return at once.
	Lost func(cause error)
	// Asked, if not nil, is called when somebody wants the key back, once more
	// if it is by force then, from any goroutine; it must return at once.
	Asked func(force bool)
}

// A KeyError is the cause when a tracked key was deleted while its lease
// lived. No part of Tenure does that; an operator may.
type KeyError struct {
	Key      string
	Revision int64
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("session: key %q of revision %d was deleted by somebody else", e.Key, e.Revision)
}

// tracker is the set of tracked keys of an epoch.
type tracker struct {
	mu    sync.Mutex
	cause error // set once the epoch has ended
	keys  map[string]*Tracked

	requests map[string]request // for keys, tracked or not, by the keys' names
}

// Track begins to watch over a key. If the epoch has ended it returns the
// cause and Lost is not called. One key can be tracked once at a time.
//
// It costs no call of its own: after each renewal the session asks etcd for
// all the keys of its lease at once.
func (e *Epoch) Track(t *Tracked) error {
	asked, err := e.track.add(t)
	if err == nil && asked != nil && t.Asked != nil {
		t.Asked(asked.Force) // before the key's creation was answered
	}
	return err
}

// add begins to track, and returns the request that there is for the key.
func (tr *tracker) add(t *Tracked) (*request, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.cause != nil {
		return nil, tr.cause
	}
	if tr.keys == nil {
		tr.keys = make(map[string]*Tracked)
	}
	if tr.keys[t.Key] != nil {
		return nil, fmt.Errorf("session: key %q is tracked already", t.Key)
	}
	tr.keys[t.Key] = t
	if r, ok := tr.requests[t.Key]; ok && r.Revision == t.Revision {
		return &r, nil
	}
	return nil, nil
}

// Untrack ends what Track began and tells whether it came in time: if not,
// Lost was called or is being called.
func (e *Epoch) Untrack(t *Tracked) bool { return e.track.remove(t) }

// remove tells whether t was still tracked: only who removes it may call Lost.
func (tr *tracker) remove(t *Tracked) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.keys[t.Key] != t {
		return false
	}
	delete(tr.keys, t.Key)
	return true
}

// end tells everybody that the epoch is over.
func (tr *tracker) end(cause error) {
	tr.mu.Lock()
	keys := tr.keys
	tr.keys, tr.cause = nil, cause
	tr.mu.Unlock()
	for _, t := range keys {
		t.Lost(cause)
	}
}

func (tr *tracker) all() []*Tracked {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	all := make([]*Tracked, 0, len(tr.keys))
	for _, t := range tr.keys {
		all = append(all, t)
	}
	return all
}

// audit looks after every renewal whether the tracked keys are still there.
// What it misses one time it finds the next, so errors are only logged.
func (e *Epoch) audit() {
	for {
		select {
		case <-e.audits:
		case <-e.ctx.Done():
			return
		}
		if err := errors.Join(e.auditOnce(e.ctx), e.dropRequests(e.ctx)); err != nil && e.ctx.Err() == nil {
			e.session.log.Debug("audit failed", "err", err)
		}
	}
}

func (e *Epoch) auditOnce(ctx context.Context) error {
	tracked := e.track.all() // before asking: keys made meanwhile are not judged
	if len(tracked) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.attemptTimeout())
	defer cancel()
	resp, err := e.session.client.TimeToLive(ctx, e.lease, clientv3.WithAttachedKeys())
	if err != nil {
		return err
	}
	if resp.TTL < 0 { // 0 is less than a second
		e.lose(ReasonGone, nil)
		return nil
	}
	attached := make(map[string]bool, len(resp.Keys))
	for _, key := range resp.Keys {
		attached[string(key)] = true
	}
	for _, t := range tracked {
		if attached[t.Key] {
			continue
		}
		if err := e.judge(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// judge decides on a key that the lease does not list. The list comes from the
// member that takes itself for the leader, which may be wrong or late, so only
// a quorum read counts.
func (e *Epoch) judge(ctx context.Context, t *Tracked) error {
	resp, err := e.session.client.Get(ctx, t.Key, clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	if len(resp.Kvs) == 1 && resp.Kvs[0].CreateRevision == t.Revision {
		return nil
	}
	if e.track.remove(t) {
		t.Lost(&KeyError{Key: t.Key, Revision: t.Revision})
	}
	return nil
}
