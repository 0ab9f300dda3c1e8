package session

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/prefixwatch"
)

// A Fence makes a write that creates a key revocable. Such a write that timed
// out may be applied at any later time, even after a read has shown that the
// key is not there. If it compares the fence it cannot: Settle closes the fence,
// and what was sent before no longer commits.
//
// A fence is a key below the epoch's lease that does not exist. Creating it
// closes it. That is the cheapest comparison there is: etcd answers it from its
// index.
type Fence struct {
	key    string
	number int64
}

// Cmp is the comparison for the write's transaction.
func (f Fence) Cmp() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(f.key), "=", 0)
}

// Key is the key that closes the fence by existing.
func (f Fence) Key() string { return f.key }

// Fence returns the fence for the next write.
func (e *Epoch) Fence() Fence {
	number := e.fences.Load()
	return Fence{key: e.session.cfg.space.Fence(e.lease, number), number: number}
}

// Settle finds out what became of a write to key, under this epoch's lease,
// that compared f: it makes sure that the write can no longer commit if it has
// not, and returns the key's create revision, 0 if it does not exist. It is
// one attempt of one transaction; on an error it can be repeated.
func (e *Epoch) Settle(ctx context.Context, f Fence, key string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, prefixwatch.ReadTimeout)
	defer cancel()
	resp, err := e.session.client.Txn(ctx).
		Then(
			clientv3.OpPut(f.key, "", clientv3.WithLease(e.lease)),
			clientv3.OpGet(key, clientv3.WithKeysOnly()),
		).
		Commit()
	if err != nil {
		return 0, fmt.Errorf("session: settle %q: %w", key, err)
	}
	e.Closed(f)
	if kvs := resp.Responses[1].GetResponseRange().Kvs; len(kvs) == 1 {
		return kvs[0].CreateRevision, nil
	}
	return 0, nil
}

// Closed takes in that a fence was found closed: the next write gets another.
func (e *Epoch) Closed(f Fence) { e.fences.CompareAndSwap(f.number, f.number+1) }
