package waitqueue

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/session"
)

// enter creates the claim's key and returns what the queue looked like then. If
// free is given, it creates the key only if that comparison holds and returns
// ErrBusy otherwise.
//
// On success the claim's revision is set. On an error whose outcome is unknown
// the claim remembers the fence, so that giveUp can settle it.
func (q *Queue) enter(ctx context.Context, c *claim, value func() string, free *clientv3.Cmp) (View, error) {
	for failures := 0; ; failures++ {
		fence := c.epoch.Fence()
		resp, err := q.create(ctx, c, value(), fence, free)
		switch {
		case err == nil && resp.Succeeded:
			c.revision = resp.Header.Revision
			if free != nil {
				return View{Revision: c.revision}, nil
			}
			front := (*clientv3.GetResponse)(resp.Responses[1].GetResponseRange())
			return View{Revision: c.revision, Keys: members(front), Whole: !front.More, Front: true}, nil
		case err == nil:
			if err := q.declined(ctx, resp, c, fence, free != nil); err != nil {
				return View{}, err
			}
		case refused(err):
			c.epoch.Report(err)
			return View{}, fmt.Errorf("create %q: %w", c.key, err)
		default:
			c.doubt = &fence
			if !c.settle(ctx, fence) {
				return View{}, fmt.Errorf("%w (last attempt: %w)", cause(ctx, c.epoch), err)
			}
			c.doubt = nil
			if c.revision > 0 {
				return View{Revision: c.revision, Front: true}, nil // look is next
			}
		}
		pause(ctx, failures)
		if ended := cause(ctx, c.epoch); ended != nil {
			return View{}, ended
		}
	}
}

// create is one attempt. It asks why only where a refusal is likely: the rest
// of the time the question would cost more than it tells.
func (q *Queue) create(ctx context.Context, c *claim, value string, fence session.Fence, free *clientv3.Cmp) (*clientv3.TxnResponse, error) {
	txn, cancel := begin(ctx, q.session.Client())
	defer cancel()
	absent := clientv3.Compare(clientv3.CreateRevision(c.key), "=", 0)
	put := clientv3.OpPut(c.key, value, clientv3.WithLease(c.epoch.Lease()))
	if free != nil {
		return txn.If(absent, fence.Cmp(), *free).Then(put).Else(why(c, fence)...).Commit()
	}
	front := clientv3.OpGet(q.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(frontLimit))
	return txn.If(absent, fence.Cmp()).Then(put, front).Commit()
}

// why reads what tells the reason for which a key was not created.
func why(c *claim, fence session.Fence) []clientv3.Op {
	return []clientv3.Op{
		clientv3.OpGet(c.key, clientv3.WithKeysOnly()),
		clientv3.OpGet(fence.Key(), clientv3.WithKeysOnly()),
	}
}

// declined says why etcd did not create the key: nil if the fence was closed
// meanwhile and it can be tried again.
func (q *Queue) declined(ctx context.Context, resp *clientv3.TxnResponse, c *claim, fence session.Fence, try bool) error {
	if !try {
		txn, cancel := begin(ctx, q.session.Client())
		defer cancel()
		var err error
		if resp, err = txn.Then(why(c, fence)...).Commit(); err != nil {
			return nil // not a reason; the next attempt asks again
		}
	}
	if own := resp.Responses[0].GetResponseRange().Kvs; len(own) > 0 {
		// Nothing of ours is left when the local turn comes, and what was in
		// doubt has been settled: whose ever this is, we do not own it.
		return fmt.Errorf("%w: key %q, create revision %d", ErrForeignKey, c.key, own[0].CreateRevision)
	}
	if len(resp.Responses[1].GetResponseRange().Kvs) > 0 {
		c.epoch.Closed(fence)
		return nil
	}
	if try {
		return ErrBusy
	}
	return nil
}
