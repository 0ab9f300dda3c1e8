package leaderworker

import (
	"context"
	"encoding/json"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/session"
)

// owners creates and deletes owner keys, many in one transaction. Each shard has
// a nested transaction of its own, so one that another worker still owns does
// not keep the others from being claimed.
type owners struct {
	pool   keys.Pool
	worker string
}

// A claimed is what became of the claim of one shard.
type claimed struct {
	shard    string
	revision int64 // the owner key's create revision
	taken    bool  // another owner's key is there
	over     bool  // the epoch is over; if the key was created it goes with the lease
}

// claim tries to create the owner keys of at most maxOps shards until it is
// certain what came of it, or the epoch is over.
func (o owners) claim(epoch *session.Epoch, shards []string) []claimed {
	ctx := epoch.Context()
	for failures := 0; ctx.Err() == nil; failures++ {
		fence := epoch.Fence()
		resp, err := o.tryClaim(ctx, epoch, fence, shards)
		switch {
		case err == nil && resp.Succeeded:
			results := make([]claimed, len(shards))
			for i, shard := range shards {
				results[i] = claimed{shard: shard, revision: resp.Header.Revision}
				results[i].taken = !resp.Responses[i].GetResponseTxn().Succeeded
			}
			return results
		case err == nil:
			epoch.Closed(fence)
			continue
		case leasekey.Refused(err):
			epoch.Report(err)
		default:
			if results, ok := o.settle(ctx, epoch, fence, shards); ok {
				return results
			}
			continue // nothing was created
		}
		leasekey.Pause(ctx, failures)
	}
	results := make([]claimed, len(shards))
	for i, shard := range shards {
		results[i] = claimed{shard: shard, over: true}
	}
	return results
}

// tryClaim is one attempt. It commits nothing once the fence is closed.
func (o owners) tryClaim(ctx context.Context, epoch *session.Epoch, fence session.Fence, shards []string) (*clientv3.TxnResponse, error) {
	value := encode(ownerRecord{Worker: o.worker, Since: stamp(time.Now())})
	ops := make([]clientv3.Op, len(shards))
	for i, shard := range shards {
		key := o.pool.Key(keys.Owners, shard)
		ops[i] = clientv3.OpTxn(
			[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)},
			[]clientv3.Op{clientv3.OpPut(key, value, clientv3.WithLease(epoch.Lease()))},
			nil)
	}
	txn, cancel := leasekey.Begin(ctx, epoch.Session().Client())
	defer cancel()
	return txn.If(fence.Cmp()).Then(ops...).Commit()
}

// settle finds out what an attempt without an answer has created. It returns
// false if that is nothing, or if the epoch is over: then it is tried again.
func (o owners) settle(ctx context.Context, epoch *session.Epoch, fence session.Fence, shards []string) ([]claimed, bool) {
	for failures := 0; ctx.Err() == nil; failures++ {
		results, found, err := o.lookAfter(ctx, epoch, fence, shards)
		if err == nil {
			return results, found
		}
		epoch.Report(err)
		leasekey.Pause(ctx, failures)
	}
	return nil, false
}

func (o owners) lookAfter(ctx context.Context, epoch *session.Epoch, fence session.Fence, shards []string) (results []claimed, found bool, err error) {
	if _, err := epoch.Settle(ctx, fence, o.pool.Key(keys.Owners, shards[0])); err != nil {
		return nil, false, err
	}
	// The fence is closed, so what is there now is all that will be.
	ops := make([]clientv3.Op, len(shards))
	for i, shard := range shards {
		ops[i] = clientv3.OpGet(o.pool.Key(keys.Owners, shard))
	}
	txn, cancel := leasekey.Begin(ctx, epoch.Session().Client())
	defer cancel()
	resp, err := txn.Then(ops...).Commit()
	if err != nil {
		return nil, false, err
	}
	results = make([]claimed, len(shards))
	for i, shard := range shards {
		results[i] = claimed{shard: shard, taken: true}
		kvs := resp.Responses[i].GetResponseRange().Kvs
		if len(kvs) == 0 {
			continue // "taken" has it looked at again: it is free by then
		}
		var record ownerRecord
		_ = json.Unmarshal(kvs[0].Value, &record) // somebody else's, if it is none
		if clientv3.LeaseID(kvs[0].Lease) == epoch.Lease() && record.Worker == o.worker {
			results[i].revision, results[i].taken = kvs[0].CreateRevision, false
			found = true
		}
	}
	return results, found, nil
}

// release deletes the owner keys of at most maxOps holds, and returns when they
// are gone, or go with their lease.
func (o owners) release(epoch *session.Epoch, holds []*hold) {
	ops := make([]clientv3.Op, len(holds))
	for i, h := range holds {
		ops[i] = clientv3.OpTxn([]clientv3.Cmp{h.guard()}, []clientv3.Op{clientv3.OpDelete(h.key)}, nil)
	}
	ctx := epoch.Context()
	for failures := 0; ctx.Err() == nil; failures++ {
		txn, cancel := leasekey.Begin(ctx, epoch.Session().Client())
		_, err := txn.Then(ops...).Commit()
		cancel()
		if err == nil {
			return
		}
		epoch.Report(err)
		leasekey.Pause(ctx, failures)
	}
}
