package session

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/prefixwatch"
)

// A Fence makes a write that creates a key revocable. Such a write that timed
// out may be applied at any later time, even after a read has shown that the
// key is not there. If it compares the fence it cannot: Settle moves the fence
// on, and what was sent before no longer commits.
//
// The fence is the mod revision of the session's own key.
type Fence struct {
	key string
	rev int64
}

// Cmp is the comparison for the write's transaction.
func (f Fence) Cmp() clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(f.key), "=", f.rev)
}

// Key is the key whose mod revision the fence compares.
func (f Fence) Key() string { return f.key }

// At tells whether a write that compares the fence would have passed it when
// its key had the mod revision rev.
func (f Fence) At(rev int64) bool { return f.rev == rev }

// fence is an epoch's current fence.
type fence struct {
	key     string
	rev     atomic.Int64
	writing chan struct{} // capacity 1: full while the key in etcd is written
}

// lock waits for the turn to write the session's key. Not a sync.Mutex: a write
// can last, and the callers' contexts can end before.
func (f *fence) lock(ctx context.Context) error {
	select {
	case f.writing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *fence) unlock() { <-f.writing }

// moved takes a newer revision in.
func (f *fence) moved(rev int64) {
	for {
		old := f.rev.Load()
		if rev <= old || f.rev.CompareAndSwap(old, rev) {
			return
		}
	}
}

// Fence returns the fence for the next write.
func (e *Epoch) Fence() Fence { return Fence{key: e.fence.key, rev: e.fence.rev.Load()} }

// MoveFence takes in that the fence's key was seen with a later mod revision: its
// owner has moved the fence, or somebody has written the key by hand.
func (e *Epoch) MoveFence(rev int64) { e.fence.moved(rev) }

// Settle finds out what became of a write to key, under this epoch's lease,
// that compared f: it makes sure that the write can no longer commit if it has
// not, and returns the key's create revision, 0 if it does not exist. It is
// one attempt of one transaction; on an error it can be repeated.
func (e *Epoch) Settle(ctx context.Context, f Fence, key string) (int64, error) {
	if err := e.fence.lock(ctx); err != nil {
		return 0, fmt.Errorf("session: settle %q: %w", key, err)
	}
	defer e.fence.unlock()

	ctx, cancel := context.WithTimeout(ctx, prefixwatch.ReadTimeout)
	defer cancel()
	get := clientv3.OpGet(key, clientv3.WithKeysOnly())
	resp, err := e.session.client.Txn(ctx).
		If(f.Cmp()).
		Then(get, e.describe()).
		Else(get, clientv3.OpGet(e.fence.key, clientv3.WithKeysOnly())).
		Commit()
	if err != nil {
		return 0, fmt.Errorf("session: settle %q: %w", key, err)
	}
	if resp.Succeeded {
		e.fence.moved(resp.Header.Revision)
	} else if kvs := resp.Responses[1].GetResponseRange().Kvs; len(kvs) == 1 {
		// It was moved before: for another write, or by an earlier attempt
		// whose answer was lost.
		e.fence.moved(kvs[0].ModRevision)
	}
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) == 1 {
		return kvs[0].CreateRevision, nil
	}
	return 0, nil
}

func (e *Epoch) describe() clientv3.Op {
	return clientv3.OpPut(e.fence.key, e.session.description, clientv3.WithLease(e.lease))
}

// watchKey follows the session's own key. All keys of a lease go in one
// revision, so its deletion is the first sign of a lease that somebody
// revoked; a renewal would notice only much later.
func (e *Epoch) watchKey() {
	watch := prefixwatch.Open(e.ctx, e.session.client, prefixwatch.Config{
		Key: e.fence.key, KeysOnly: true, NoPuts: true, Probe: e.ttl,
	})
	defer watch.Close()
	for {
		update, err := watch.Next(e.ctx)
		if err != nil {
			if e.ctx.Err() == nil {
				// Refused for good: renewals still notice a lost lease.
				e.session.log.Warn("cannot watch the session's key", "key", e.fence.key, "err", err)
			}
			return
		}
		last := len(update.Events) - 1
		gone := last < 0 || update.Events[last].Type == clientv3.EventTypeDelete
		if gone {
			e.restoreKey(update.Revision)
		}
	}
}

// restoreKey puts the session's key back if somebody deleted nothing but it.
// If the lease is gone, that write is refused, which settles the question.
func (e *Epoch) restoreKey(seen int64) {
	for failures := 1; e.ctx.Err() == nil; failures++ {
		err := e.writeKey(e.ctx)
		switch {
		case err == nil:
			e.session.log.Warn("the session's key was deleted and put back", "key", e.fence.key, "revision", seen)
			return
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			e.lose(ReasonGone, nil)
			return
		}
		pause(e.ctx, backoff(failures, 50*time.Millisecond, time.Second))
	}
}

// writeKey creates the session's key, or finds it there.
func (e *Epoch) writeKey(ctx context.Context) error {
	if err := e.fence.lock(ctx); err != nil {
		return err
	}
	defer e.fence.unlock()
	ctx, cancel := context.WithTimeout(ctx, e.attemptTimeout())
	defer cancel()
	resp, err := e.session.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(e.fence.key), "=", 0)).
		Then(e.describe()).
		Else(clientv3.OpGet(e.fence.key, clientv3.WithKeysOnly())).
		Commit()
	if err != nil {
		return err
	}
	rev := resp.Header.Revision
	if !resp.Succeeded {
		rev = resp.Responses[0].GetResponseRange().Kvs[0].ModRevision
	}
	e.fence.moved(rev)
	return nil
}

// pause waits, or returns early when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Report tells the session what an etcd call on this epoch's lease answered.
// If it says that the lease is gone, the epoch ends at once.
func (e *Epoch) Report(err error) {
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		e.lose(ReasonGone, nil)
	}
}
