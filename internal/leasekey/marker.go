package leasekey

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrMarked is returned by Mark when a marker of somebody else's is there.
var ErrMarked = errors.New("the marker of an earlier owner is there")

// Mark puts a marker beside a key that exists, in one attempt: a key of that
// name on another lease, which is to outlive this one's. The marker is removed in
// the transaction that removes the key, and stays when the key goes with its
// lease. It says by its value whose it is.
//
// ErrMarked comes with the create revision of a marker that somebody else has
// left. Any other error may be repeated.
func (k *Key) Mark(ctx context.Context, marker string, lease clientv3.LeaseID) (found int64, err error) {
	k.mu.Lock()
	k.marker = marker // from here on it may be there
	k.mu.Unlock()
	own := strconv.FormatInt(k.revision, 10)
	put := clientv3.OpPut(marker, own, clientv3.WithLease(lease))
	for seen := int64(0); ; {
		txn, cancel := Begin(ctx, k.epoch.Session().Client())
		resp, err := txn.
			If(k.Guard(), clientv3.Compare(clientv3.ModRevision(marker), "=", seen)).
			Then(put).
			Else(clientv3.OpGet(k.name, clientv3.WithKeysOnly()), clientv3.OpGet(marker)).
			Commit()
		cancel()
		if err != nil {
			k.epoch.Report(err)
			return 0, fmt.Errorf("mark %q: %w", marker, err)
		}
		if resp.Succeeded {
			return 0, nil
		}
		if self := kvs(resp, 0); len(self) == 0 || self[0].CreateRevision != k.revision {
			return 0, k.Missing(ctx)
		}
		switch there := kvs(resp, 1); {
		case len(there) == 0:
			seen = 0
		case string(there[0].Value) == own:
			return 0, nil // by an attempt that was not answered
		case clientv3.LeaseID(there[0].Lease) == lease:
			// Of an earlier key of this epoch, which somebody deleted by hand.
			seen = there[0].ModRevision
		default:
			return there[0].CreateRevision, ErrMarked
		}
	}
}

// unmark is the part of a transaction that removes the marker, if it is this
// key's.
func (k *Key) unmark() clientv3.Op {
	own := clientv3.Compare(clientv3.Value(k.marker), "=", strconv.FormatInt(k.revision, 10))
	return clientv3.OpTxn([]clientv3.Cmp{own}, []clientv3.Op{clientv3.OpDelete(k.marker)}, nil)
}

// dropMarker removes the marker of a key that went alone: its lease lives, so
// nobody has died.
func (k *Key) dropMarker() {
	if k.epoch.Err() != nil {
		return
	}
	k.epoch.Background(func(ctx context.Context) {
		for failures := 0; ctx.Err() == nil; failures++ {
			txn, cancel := Begin(ctx, k.epoch.Session().Client())
			_, err := txn.Then(k.unmark()).Commit()
			cancel()
			if err == nil || Refused(err) {
				return
			}
			Pause(ctx, failures)
		}
	})
}
