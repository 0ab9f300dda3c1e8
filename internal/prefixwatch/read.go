package prefixwatch

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ReadTimeout bounds one attempt to read. A member that does not answer must
// cost a retry at the next one, not the caller's whole patience.
const ReadTimeout = 2 * time.Second

// ReadAtLeast reads key, or the range that opts make of it, at revision rev or
// later. It asks one member without a quorum round, and all of them only if
// that member lags behind.
func ReadAtLeast(ctx context.Context, kv clientv3.KV, rev int64, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	resp, err := get(ctx, kv, key, append(opts[:len(opts):len(opts)], clientv3.WithSerializable()))
	if err == nil && resp.Header.Revision >= rev {
		return resp, nil
	}
	return get(ctx, kv, key, opts)
}

// ReadAllAtLeast is ReadAtLeast for several reads at one revision.
func ReadAllAtLeast(ctx context.Context, kv clientv3.KV, rev int64, reads ...clientv3.Op) (*clientv3.TxnResponse, error) {
	serializable := make([]clientv3.Op, len(reads))
	for i, op := range reads {
		clientv3.WithSerializable()(&op)
		serializable[i] = op
	}
	resp, err := ReadAll(ctx, kv, serializable...)
	if err == nil && resp.Header.Revision >= rev {
		return resp, nil
	}
	return ReadAll(ctx, kv, reads...)
}

// ReadAll is one attempt of several linearizable reads at one revision.
func ReadAll(ctx context.Context, kv clientv3.KV, reads ...clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, ReadTimeout)
	defer cancel()
	return kv.Txn(ctx).Then(reads...).Commit()
}

// get is one attempt. A quorum read that another one follows is cheap, so a
// failed attempt is simply an error.
func get(ctx context.Context, kv clientv3.KV, key string, opts []clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, ReadTimeout)
	defer cancel()
	return kv.Get(ctx, key, opts...)
}
