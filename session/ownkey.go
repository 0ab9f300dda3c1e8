package session

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/prefixwatch"
)

// key is the session's own key under this epoch's lease.
func (e *Epoch) key() string { return e.session.cfg.space.Session(e.lease) }

func (e *Epoch) describe() clientv3.Op {
	return clientv3.OpPut(e.key(), e.session.description, clientv3.WithLease(e.lease))
}

// watchKey follows the session's own key, and the requests below it. All keys of
// a lease go in one revision, so the own key's deletion is the first sign of a
// lease that somebody revoked; a renewal would notice only much later.
func (e *Epoch) watchKey() {
	watch := prefixwatch.Open(e.ctx, e.session.client, prefixwatch.Config{
		Key: e.key(), End: e.session.cfg.space.SessionEnd(e.lease), Probe: e.ttl,
	})
	defer watch.Close()
	gone := true // until it was seen
	for {
		update, err := watch.Next(e.ctx)
		if err != nil {
			if e.ctx.Err() == nil {
				// Refused for good: renewals still notice a lost lease.
				e.session.log.Warn("cannot watch the session's key", "key", e.key(), "err", err)
			}
			return
		}
		for _, ev := range update.Events {
			if string(ev.Kv.Key) == e.key() {
				gone = ev.Type == clientv3.EventTypeDelete
				continue
			}
			e.takeRequest(ev)
		}
		if gone {
			e.restoreKey(update.Revision)
			gone = false
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
			e.session.log.Warn("the session's key was deleted and put back", "key", e.key(), "revision", seen)
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
	ctx, cancel := context.WithTimeout(ctx, e.attemptTimeout())
	defer cancel()
	_, err := e.session.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(e.key()), "=", 0)).
		Then(e.describe()).
		Commit()
	return err
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
