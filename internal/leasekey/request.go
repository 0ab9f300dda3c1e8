package leasekey

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/prefixwatch"
)

// ErrNoSession: the lease of a key is none of a session of that namespace, so
// nobody there would hear of a request.
var ErrNoSession = errors.New("its owner is no session of this namespace")

// Ask asks the session with that lease to give a key up, trying until ctx ends.
// It can be repeated: the request for one key stands in etcd once. If the key is
// gone, with its lease or alone, there is nothing to ask for and nothing is
// left. It takes no session to ask.
func Ask(ctx context.Context, client *clientv3.Client, space keys.Space, lease clientv3.LeaseID, r keys.Request) error {
	name := space.Request(lease, r.Key)
	var seen int64 // the mod revision of a request that stands there and has to be replaced
	for failures := 0; ; {
		txn, cancel := Begin(ctx, client)
		resp, err := txn.
			If(
				clientv3.Compare(clientv3.CreateRevision(r.Key), "=", r.Revision),
				clientv3.Compare(clientv3.CreateRevision(space.Session(lease)), ">", 0),
				clientv3.Compare(clientv3.ModRevision(name), "=", seen),
			).
			Then(clientv3.OpPut(name, r.Value(), clientv3.WithLease(lease))).
			Else(
				clientv3.OpGet(r.Key, clientv3.WithKeysOnly()),
				clientv3.OpGet(space.Session(lease), clientv3.WithKeysOnly()),
				clientv3.OpGet(name),
			).
			Commit()
		cancel()
		switch {
		case err == nil && resp.Succeeded:
			return nil
		case err == nil:
			wanted, owner, there := kvs(resp, 0), kvs(resp, 1), kvs(resp, 2)
			switch {
			case len(wanted) == 0 || wanted[0].CreateRevision != r.Revision:
				return nil
			case len(owner) == 0:
				return fmt.Errorf("%w: key %q, lease %x", ErrNoSession, r.Key, int64(lease))
			}
			seen = 0
			if len(there) > 0 {
				seen = there[0].ModRevision
				if stands, ok := keys.ParseRequest(space.Requests(lease), name, there[0].Value); ok && stands.Covers(r) {
					return nil
				}
			}
			continue
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			return nil // and the key with it
		case Refused(err):
			return fmt.Errorf("ask for %q: %w", r.Key, err)
		}
		Pause(ctx, failures)
		failures++
		if ctx.Err() != nil {
			return fmt.Errorf("ask for %q: %w (last attempt: %w)", r.Key, context.Cause(ctx), err)
		}
	}
}

func kvs(resp *clientv3.TxnResponse, i int) []*mvccpb.KeyValue {
	return resp.Responses[i].GetResponseRange().Kvs
}

// AwaitGone waits until there is no key of that name and create revision.
func AwaitGone(ctx context.Context, client *clientv3.Client, name string, revision int64) error {
	watch := prefixwatch.Open(ctx, client, prefixwatch.Config{Key: name, KeysOnly: true, NoPuts: true, From: revision})
	defer watch.Close()
	for first := true; ; first = false {
		update, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		gone := first && len(update.Events) == 0
		for _, ev := range update.Events {
			gone = ev.Type == clientv3.EventTypeDelete || ev.Kv.CreateRevision > revision
		}
		if gone {
			return nil
		}
	}
}
