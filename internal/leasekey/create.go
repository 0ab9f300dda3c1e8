package leasekey

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/session"
)

// A Creation is the transaction that creates keys, all of them or none.
type Creation struct {
	Keys  []*Key        // of one epoch
	Value func() string // of each key; asked anew for each attempt

	If   []clientv3.Cmp // on which the caller insists
	Free bool           // these imply that the keys are not there, which is not compared then
	Then []clientv3.Op  // what is done, or read, with it
	Else []clientv3.Op  // what is read if the caller's comparisons fail
}

// A Created is what became of a Creation.
type Created struct {
	// Done is false if the caller's comparisons failed: then Answers are those
	// of Else.
	Done bool
	// Revision is that of the transaction, and the keys' create revision; that
	// of the read if it was not done.
	Revision int64
	// Answers are those of Then. They are nil if etcd's answer was lost and the
	// keys were found later.
	Answers []*clientv3.GetResponse
}

// Create creates the keys if they are not there, trying until it is certain
// what came of it.
//
// After an error an attempt may be in doubt; Discard resolves it. ErrForeignKey
// says that one of the keys exists and is not ours.
func Create(ctx context.Context, c Creation) (Created, error) {
	epoch := c.Keys[0].epoch
	for failures := 0; ; failures++ {
		fence := epoch.Fence()
		resp, err := c.attempt(ctx, fence)
		switch {
		case err == nil && resp.Succeeded:
			for _, k := range c.Keys {
				k.revision = resp.Revision
			}
			return Created{Done: true, Revision: resp.Revision, Answers: answers(resp, len(c.Keys))}, nil
		case err == nil:
			declined, err := c.declined(ctx, resp, fence)
			if declined != nil || err != nil {
				return Created{Revision: resp.Revision, Answers: declined}, err
			}
		case Refused(err):
			epoch.Report(err)
			return Created{}, fmt.Errorf("create %q: %w", c.Keys[0].name, err)
		default:
			found, ended := c.settle(ctx, fence)
			if ended != nil {
				return Created{}, fmt.Errorf("%w (last attempt: %w)", ended, err)
			}
			if found > 0 {
				return Created{Done: true, Revision: found}, nil
			}
		}
		Pause(ctx, failures)
		if ended := cause(ctx, epoch); ended != nil {
			return Created{}, ended
		}
	}
}

// attempt is one. It asks why only where a refusal is likely: the rest of the
// time the question would cost more than it tells.
func (c *Creation) attempt(ctx context.Context, fence session.Fence) (groupcommit.Result, error) {
	epoch := c.Keys[0].epoch
	compare := append(make([]clientv3.Cmp, 0, len(c.Keys)+len(c.If)+1), fence.Cmp())
	then := make([]clientv3.Op, 0, len(c.Keys)+len(c.Then))
	value := c.Value()
	for _, k := range c.Keys {
		if !c.Free {
			compare = append(compare, clientv3.Compare(clientv3.CreateRevision(k.name), "=", 0))
		}
		then = append(then, clientv3.OpPut(k.name, value, clientv3.WithLease(epoch.Lease())))
	}
	txn := groupcommit.Txn{If: append(compare, c.If...), Then: append(then, c.Then...)}
	if len(c.If) > 0 {
		txn.Else = c.why(fence)
	}
	return Commit(ctx, epoch, txn)
}

// why reads what tells the reason for which the keys were not created: the
// keys, the fence, and what the caller wants to know.
func (c *Creation) why(fence session.Fence) []clientv3.Op {
	ops := make([]clientv3.Op, 0, len(c.Keys)+1+len(c.Else))
	for _, k := range c.Keys {
		ops = append(ops, clientv3.OpGet(k.name, clientv3.WithKeysOnly()))
	}
	ops = append(ops, clientv3.OpGet(fence.Key(), clientv3.WithKeysOnly()))
	return append(ops, c.Else...)
}

// declined says why etcd did not create the keys: the answers of Else if it was
// for the caller's comparisons, neither these nor an error if the fence was
// closed meanwhile and it can be tried again.
func (c *Creation) declined(ctx context.Context, resp groupcommit.Result, fence session.Fence) ([]*clientv3.GetResponse, error) {
	insists := len(c.If) > 0
	if !insists {
		var err error
		if resp, err = Commit(ctx, c.Keys[0].epoch, groupcommit.Txn{Then: c.why(fence)}); err != nil {
			return nil, nil // not a reason; the next attempt asks again
		}
	}
	reasons := answers(resp, 0)
	for i, k := range c.Keys {
		if own := reasons[i].Kvs; len(own) > 0 {
			// Nothing of ours is left when our turn comes, and what was in doubt
			// has been settled: whose ever this is, we do not own it.
			return nil, fmt.Errorf("%w: key %q, create revision %d", ErrForeignKey, k.name, own[0].CreateRevision)
		}
	}
	if len(reasons[len(c.Keys)].Kvs) > 0 {
		c.Keys[0].epoch.Closed(fence)
		return nil, nil
	}
	if !insists {
		return nil, nil
	}
	return reasons[len(c.Keys)+1:], nil
}

// settle finds out whether an attempt that was not answered created the keys,
// and returns their revision then, or 0. If ctx ends first, each key that is
// still in doubt knows the fence.
func (c *Creation) settle(ctx context.Context, fence session.Fence) (found int64, err error) {
	for _, k := range c.Keys {
		k.doubt = &fence
	}
	for _, k := range c.Keys {
		if !k.settle(ctx, fence) {
			return 0, cause(ctx, k.epoch)
		}
		found = max(found, k.revision)
	}
	for _, k := range c.Keys {
		if found > 0 && k.revision == 0 {
			k.revision = found
			return 0, k.deleted() // since then: they were created together
		}
	}
	return found, nil
}

// answers are those of a transaction's reads behind the first n operations.
func answers(resp groupcommit.Result, n int) []*clientv3.GetResponse {
	gets := make([]*clientv3.GetResponse, 0, len(resp.Responses)-n)
	for _, r := range resp.Responses[n:] {
		gets = append(gets, (*clientv3.GetResponse)(r.GetResponseRange()))
	}
	return gets
}
