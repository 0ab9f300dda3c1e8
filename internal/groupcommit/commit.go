package groupcommit

import (
	"context"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// attemptTimeout bounds one commit. One that is repeated elsewhere is cheap;
	// one that waits for a dead connection is not.
	attemptTimeout = 2 * time.Second

	// concurrent is how many commits of one committer are under way at once.
	concurrent = 2
)

// A Txn is a transaction that writes single keys; what it compares and reads may
// be ranges.
type Txn struct {
	If         []clientv3.Cmp
	Then, Else []clientv3.Op
}

// A Result is what etcd answered to one transaction.
type Result struct {
	Revision  int64 // of the store, and of what the transaction wrote
	Succeeded bool
	Responses []*pb.ResponseOp
}

// Value returns the key-value that the i-th operation, a get, has read: nil if
// the key is not there.
func (r Result) Value(i int) *mvccpb.KeyValue {
	if kvs := r.Responses[i].GetResponseRange().GetKvs(); len(kvs) == 1 {
		return kvs[0]
	}
	return nil
}

// A Committer sends transactions. It is safe for concurrent use. Whoever makes
// one waits for it in the end.
type Committer struct {
	client *clientv3.Client

	spawn func(func()) // starts what sends

	mu      sync.Mutex
	pending []*request
	running int
	sending sync.WaitGroup
}

type request struct {
	txn  Txn
	done chan struct{}
	Result
	err error
}

// New returns a committer on a client. If begin is given, it is called when a
// goroutine of the committer begins, and what it returns when that ends: for who
// cannot call Wait.
func New(client *clientv3.Client, begin func() (done func())) *Committer {
	c := &Committer{client: client}
	c.spawn = c.sending.Go
	if begin != nil {
		c.spawn = func(send func()) {
			done := begin()
			c.sending.Go(func() {
				defer done()
				send()
			})
		}
	}
	return c
}

// Wait returns when nothing is under way. Each commit has a time limit of its
// own, so it does not take long.
func (c *Committer) Wait() { c.sending.Wait() }

// Do commits a transaction, once. An error that matches Refused says that it
// was not applied; after any other it may be applied at any later time, also
// if it is because ctx ended, which ends the waiting only.
func (c *Committer) Do(ctx context.Context, txn Txn) (Result, error) {
	c.mu.Lock()
	if c.running < concurrent {
		// Nothing is pending then. Who is alone does not pay for a goroutine.
		c.running++
		c.mu.Unlock()
		defer c.next()
		return c.alone(ctx, txn)
	}
	r := &request{txn: txn, done: make(chan struct{})}
	c.pending = append(c.pending, r)
	c.mu.Unlock()
	select {
	case <-r.done:
		return r.Result, r.err
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

// next ends a commit: what gathered meanwhile is sent by a goroutine.
func (c *Committer) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) > 0 {
		c.spawn(c.send)
		return
	}
	c.running--
}

// alone commits one transaction.
func (c *Committer) alone(ctx context.Context, txn Txn) (Result, error) {
	// A timer and no deadline of the context, which would travel with the
	// request and be kept a second time, by etcd: a fortieth of the whole cost of
	// a commit.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(attemptTimeout, cancel)
	defer timer.Stop()
	resp, err := c.client.Txn(ctx).If(txn.If...).Then(txn.Then...).Else(txn.Else...).Commit()
	if err != nil {
		return Result{}, err
	}
	return Result{Revision: resp.Header.Revision, Succeeded: resp.Succeeded, Responses: resp.Responses}, nil
}

// send commits until nothing is pending.
func (c *Committer) send() {
	for {
		c.mu.Lock()
		var b *batch
		b, c.pending = gather(c.pending)
		if len(b.requests) == 0 {
			c.running--
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		c.commit(b.requests)
	}
}

// commit sends one batch and hands out its answers.
func (c *Committer) commit(requests []*request) {
	if len(requests) == 1 {
		r := requests[0]
		r.Result, r.err = c.alone(context.Background(), r.txn)
		close(r.done)
		return
	}
	ops := make([]clientv3.Op, len(requests))
	for i, r := range requests {
		ops[i] = clientv3.OpTxn(r.txn.If, r.txn.Then, r.txn.Else)
	}
	all, err := c.alone(context.Background(), Txn{Then: ops})
	if Refused(err) {
		// One of them is to blame, a dead lease perhaps, and none was applied:
		// the others must not pay for it.
		for _, r := range requests {
			c.commit([]*request{r})
		}
		return
	}
	for i, r := range requests {
		if err == nil {
			own := all.Responses[i].GetResponseTxn()
			r.Result = Result{Revision: all.Revision, Succeeded: own.Succeeded, Responses: own.Responses}
		}
		r.err = err
		close(r.done)
	}
}
