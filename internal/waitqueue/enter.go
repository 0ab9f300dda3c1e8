package waitqueue

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/session"
)

// enter creates the hold's key and returns what the queue looked like then. If
// free is given, it creates the key only if that comparison holds and returns
// ErrBusy otherwise.
//
// On success the hold's revision is set. On an error whose outcome is unknown
// the hold remembers the fence, so that giveUp can settle it.
func (q *Queue) enter(ctx context.Context, h *Hold, value string, free *clientv3.Cmp) (View, error) {
	for failures := 0; ; failures++ {
		fence := h.Epoch.Fence()
		resp, err := q.create(ctx, h, value, fence, free)
		switch {
		case err == nil && resp.Succeeded:
			h.revision = resp.Header.Revision
			if free != nil {
				return View{Revision: h.revision}, nil
			}
			front := (*clientv3.GetResponse)(resp.Responses[1].GetResponseRange())
			return View{Revision: h.revision, Keys: members(front), Whole: !front.More, Front: true}, nil
		case err == nil:
			if err := q.declined(ctx, resp, h, fence, free != nil); err != nil {
				return View{}, err
			}
		case refused(err):
			h.Epoch.Report(err)
			return View{}, fmt.Errorf("create %q: %w", h.Key, err)
		default:
			h.doubt = &fence
			if !h.settle(ctx, fence) {
				return View{}, fmt.Errorf("%w (last attempt: %w)", cause(ctx, h.Epoch), err)
			}
			h.doubt = nil
			if h.revision > 0 {
				return View{Revision: h.revision, Front: true}, nil // look is next
			}
		}
		pause(ctx, failures)
		if ended := cause(ctx, h.Epoch); ended != nil {
			return View{}, ended
		}
	}
}

// create is one attempt. It asks why only where a refusal is likely: the rest
// of the time the question would cost more than it tells.
func (q *Queue) create(ctx context.Context, h *Hold, value string, fence session.Fence, free *clientv3.Cmp) (*clientv3.TxnResponse, error) {
	txn, cancel := begin(ctx, q.session.Client())
	defer cancel()
	absent := clientv3.Compare(clientv3.CreateRevision(h.Key), "=", 0)
	put := clientv3.OpPut(h.Key, value, clientv3.WithLease(h.Epoch.Lease()))
	if free != nil {
		return txn.If(absent, fence.Cmp(), *free).Then(put).Else(why(h, fence)...).Commit()
	}
	front := clientv3.OpGet(q.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(frontLimit))
	return txn.If(absent, fence.Cmp()).Then(put, front).Commit()
}

// why reads what tells the reason for which a key was not created.
func why(h *Hold, fence session.Fence) []clientv3.Op {
	return []clientv3.Op{
		clientv3.OpGet(h.Key, clientv3.WithKeysOnly()),
		clientv3.OpGet(fence.Key(), clientv3.WithKeysOnly()),
	}
}

// declined says why etcd did not create the key: nil if the fence had moved
// meanwhile and it can be tried again.
func (q *Queue) declined(ctx context.Context, resp *clientv3.TxnResponse, h *Hold, fence session.Fence, try bool) error {
	if !try {
		txn, cancel := begin(ctx, q.session.Client())
		defer cancel()
		var err error
		if resp, err = txn.Then(why(h, fence)...).Commit(); err != nil {
			return nil // not a reason; the next attempt asks again
		}
	}
	if own := resp.Responses[0].GetResponseRange().Kvs; len(own) > 0 {
		// Nothing of ours is left when the local turn comes, and what was in
		// doubt has been settled: whose ever this is, we do not own it.
		return fmt.Errorf("%w: key %q, create revision %d", ErrForeignKey, h.Key, own[0].CreateRevision)
	}
	moved := true
	if kvs := resp.Responses[1].GetResponseRange().Kvs; len(kvs) == 1 {
		moved = !fence.At(kvs[0].ModRevision)
		h.Epoch.MoveFence(kvs[0].ModRevision)
	}
	if try && !moved {
		return ErrBusy
	}
	return nil
}
