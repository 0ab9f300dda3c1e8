package waitqueue

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
)

// ErrBusy is returned by Try: somebody else owns or waits, and the caller does
// not want to.
var ErrBusy = errors.New("busy")

// frontLimit is how many keys the entering transaction returns. Up to that
// many members, a waiter needs no further read; beyond, the transaction stays
// cheap, which matters because etcd runs it where it runs all writes.
const frontLimit = 8

// enter creates the claim's key and returns what the queue looked like then.
// with is done in the same transaction.
func (q *Queue) enter(ctx context.Context, c *claim, value func() string, with ...clientv3.Op) (View, error) {
	front := clientv3.OpGet(q.prefix,
		clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(frontLimit))
	created, err := leasekey.Create(ctx, leasekey.Creation{
		Keys: []*leasekey.Key{c.Key}, Value: value, Then: append([]clientv3.Op{front}, with...),
	})
	if err != nil {
		return View{}, err
	}
	view := View{Revision: created.Revision, Front: true}
	c.ahead = -1
	if created.Answers != nil {
		front := created.Answers[0]
		view.Keys, view.Whole = members(front), !front.More
		c.ahead = int(front.Count) - 1 // the own one was created with the read
	}
	return view, nil
}

// enterFree creates the claim's key if there is no other, nor a marker, and
// returns ErrBusy otherwise.
func (q *Queue) enterFree(ctx context.Context, c *claim, value func() string) error {
	free := []clientv3.Cmp{q.Free()}
	if q.delay > 0 {
		free = append(free, clientv3.Compare(clientv3.CreateRevision(q.marker), "=", 0))
	}
	created, err := leasekey.Create(ctx, leasekey.Creation{
		Keys: []*leasekey.Key{c.Key}, Value: value, If: free,
	})
	if err == nil && !created.Done {
		err = ErrBusy
	}
	return err
}
