package election

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
)

// Proclaim changes what the leader proclaims, see WithValue. Calls on one term
// follow each other, and an earlier one never overwrites a later one, however
// late it reaches etcd.
//
// It returns nil once etcd has the value, and why the term is over if it is.
// If ctx ends first the error has its cause, and the value may or may not be
// in force; calling again settles it. It costs one transaction.
func (t *Term) Proclaim(ctx context.Context, value []byte) error {
	select {
	case t.writing <- struct{}{}:
		defer func() { <-t.writing }()
	case <-ctx.Done():
		return t.election.explain(fmt.Errorf("proclaim, behind another call: %w", context.Cause(ctx)))
	}
	last := errors.New("none")
	for failures := 0; ; failures++ {
		if err := t.hold.Err(); err != nil {
			return t.election.explain(err)
		}
		if ctx.Err() != nil {
			return t.election.explain(fmt.Errorf("proclaim: %w (last attempt: %w)", context.Cause(ctx), last))
		}
		done, err := t.write(ctx, value, failures > 0)
		switch {
		case err == nil && done:
			return nil
		case err == nil: // the key has changed since it was last seen
			continue
		case t.hold.Err() != nil:
			continue // the key is gone because the term is over
		case leasekey.Lost(err), leasekey.Refused(err):
			return t.election.explain(err)
		}
		t.hold.Epoch().Report(err)
		last = err
		leasekey.Pause(ctx, failures)
	}
}

// write is one attempt. It compares the mod revision as well, so that of all
// the attempts that are still under way only one takes effect.
func (t *Term) write(ctx context.Context, value []byte, repeated bool) (done bool, err error) {
	key := t.key.Name()
	txn, cancel := leasekey.Begin(ctx, t.election.session.Client())
	defer cancel()
	resp, err := txn.
		If(t.key.Guard(), clientv3.Compare(clientv3.ModRevision(key), "=", t.mod)).
		Then(clientv3.OpPut(key, string(value), clientv3.WithLease(t.hold.Epoch().Lease()))).
		Else(clientv3.OpGet(key)).
		Commit()
	switch {
	case err != nil:
		return false, err
	case resp.Succeeded:
		t.mod = resp.Header.Revision
		return true, nil
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 || kvs[0].CreateRevision != t.Token() {
		return false, t.key.Missing(ctx)
	}
	t.mod = kvs[0].ModRevision
	// Perhaps that was an earlier attempt of this call; in any case it is done.
	return repeated && string(kvs[0].Value) == string(value), nil
}
