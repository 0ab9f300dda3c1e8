package waitqueue

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
)

// Stand creates a key that the caller has to itself, and waits until nobody is
// ahead of it. with is done in the transaction that creates the key.
//
// It is Acquire without the seat: the key is not shared with other goroutines
// of the session, and the caller sees to it that one of them stands at a time.
// And the key can be moved: whoever owns may delete it together with its own
// and all between, so that one further behind comes next. The error is then a
// *session.KeyError, and the caller stands anew, at the end.
//
// After any error the caller discards the key.
func (q *Queue) Stand(ctx context.Context, key *leasekey.Key, value func() string, with ...clientv3.Op) error {
	c := &claim{Key: key, movable: true}
	view, err := q.enter(ctx, c, value, with...)
	if err != nil {
		return err
	}
	return q.waitTurn(ctx, c, view)
}
