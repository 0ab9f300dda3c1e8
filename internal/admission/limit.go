package admission

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
)

// expected is the limit that the next transaction compares: the one last seen,
// or at first the one that the caller expects.
func (q *Permits) expected(ctx context.Context, weight int64) (int64, error) {
	limit := q.agreed.Load()
	if limit == 0 {
		limit = q.want
	}
	if weight > limit {
		// It may have been raised since.
		now, err := q.Limit(ctx)
		if err != nil {
			return 0, err
		}
		if weight > max(now, limit) || now != 0 && weight > now {
			return 0, fmt.Errorf("%w: %d of %d", ErrTooMany, weight, limit)
		}
		if err := q.agree(ctx, Limit{N: now}); err != nil {
			return 0, err
		}
		return q.expected(ctx, weight)
	}
	return limit, nil
}

// agree takes in what the limit is. If there is none it is set to what the
// caller expects. Once it was as expected, later changes are followed.
func (q *Permits) agree(ctx context.Context, now Limit) error {
	switch {
	case now.N == 0:
		return q.propose(ctx)
	case q.agreed.Load() == 0 && now.N != q.want:
		return &LimitError{Want: q.want, Agreed: now.N}
	}
	q.agreed.Store(now.N)
	return nil
}

// propose sets the limit if there is none.
func (q *Permits) propose(ctx context.Context) error {
	none := clientv3.Compare(clientv3.CreateRevision(q.prefix+limits), "=", 0).WithPrefix()
	for failures := 0; ; failures++ {
		txn, cancel := leasekey.Begin(ctx, q.session.Client())
		resp, err := txn.If(none).Then(clientv3.OpPut(q.limitKey(q.want), "")).Else(q.getLimit()).Commit()
		cancel()
		switch {
		case err == nil && resp.Succeeded:
			q.agreed.Store(q.want)
			return nil
		case err == nil:
			return q.agree(ctx, q.limit(resp.Responses[0].GetResponseRange().Kvs))
		case leasekey.Refused(err):
			return fmt.Errorf("set the limit: %w", err)
		}
		leasekey.Pause(ctx, failures)
		if ctx.Err() != nil {
			return fmt.Errorf("%w (last attempt: %w)", context.Cause(ctx), err)
		}
	}
}

// Limit reads what has been agreed on, 0 if nothing has. It costs one read.
func (q *Permits) Limit(ctx context.Context) (int64, error) {
	resp, err := q.session.Client().Do(ctx, q.getLimit())
	if err != nil {
		return 0, fmt.Errorf("read the limit: %w", err)
	}
	return q.limit(resp.Get().Kvs).N, nil
}

// SetLimit changes the limit for all users. Holders keep what they hold; a lower
// limit is reached as they release. It costs a read and a transaction.
func (q *Permits) SetLimit(ctx context.Context, n int64) error {
	for failures := 0; ; failures++ {
		err := q.setLimit(ctx, n)
		if err == nil || leasekey.Refused(err) {
			return err
		}
		leasekey.Pause(ctx, failures)
		if ctx.Err() != nil {
			return fmt.Errorf("%w (last attempt: %w)", context.Cause(ctx), err)
		}
	}
}

func (q *Permits) setLimit(ctx context.Context, n int64) error {
	resp, err := q.session.Client().Do(ctx, q.getLimit())
	if err != nil {
		return fmt.Errorf("read the limit: %w", err)
	}
	now := q.limit(resp.Get().Kvs)
	if now.N == n {
		q.agreed.Store(n)
		return nil
	}
	txn, cancel := leasekey.Begin(ctx, q.session.Client())
	defer cancel()
	unchanged := clientv3.Compare(clientv3.CreateRevision(q.prefix+limits), "=", 0).WithPrefix()
	then := []clientv3.Op{clientv3.OpPut(q.limitKey(n), "")}
	if now.N > 0 {
		// The deletion is what waiters see.
		unchanged = clientv3.Compare(clientv3.CreateRevision(q.limitKey(now.N)), "=", now.Since)
		then = append(then, clientv3.OpDelete(q.limitKey(now.N)))
	}
	answer, err := txn.If(unchanged).Then(then...).Commit()
	switch {
	case err != nil:
		return fmt.Errorf("change the limit: %w", err)
	case !answer.Succeeded:
		return errChanged
	}
	q.agreed.Store(n)
	return nil
}

var errChanged = fmt.Errorf("the limit was changed by somebody else at the same time")
