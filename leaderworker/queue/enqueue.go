package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
)

// Enqueue puts a task into the queue and returns its id. When it returns nil the
// task is there, and will be done, or end among the dead letters, or be
// cancelled, whoever crashes.
//
// It returns ErrConfig for a payload that is too large or an option that cannot
// work, ErrFull if there is no room, and ErrDuplicate with the id of the first
// task if the dedupe key was accepted before. If etcd did not answer, it finds
// out what has become of the task; if it cannot, it returns ErrUnknown.
//
// It costs one transaction; goroutines that enqueue at the same time share
// commits.
func (q *Queue) Enqueue(ctx context.Context, payload []byte, opts ...TaskOption) (id string, err error) {
	t := task{Priority: Normal, Enqueued: now(), id: newID(), payload: payload}
	for _, opt := range opts {
		if err := opt(&t); err != nil {
			return "", fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	if len(payload) > q.maxPayload {
		return "", fmt.Errorf("%w: a payload of %d bytes is larger than %d", ErrConfig, len(payload), q.maxPayload)
	}
	if err := q.room.take(ctx, q); err != nil {
		return "", err
	}
	return q.enqueue(ctx, t)
}

// EnqueueAll puts several tasks with the same options into the queue. The
// transactions share commits, and each is accepted or not for itself: errs[i] is
// what Enqueue would have returned for the i-th.
func (q *Queue) EnqueueAll(ctx context.Context, payloads [][]byte, opts ...TaskOption) (ids []string, errs []error) {
	ids, errs = make([]string, len(payloads)), make([]error, len(payloads))
	var group sync.WaitGroup
	tokens := make(chan struct{}, 256)
	for i, payload := range payloads {
		tokens <- struct{}{}
		group.Go(func() {
			defer func() { <-tokens }()
			ids[i], errs[i] = q.Enqueue(ctx, payload, opts...)
		})
	}
	group.Wait()
	return ids, errs
}

func (q *Queue) enqueue(ctx context.Context, t task) (string, error) {
	p := place{priority: t.Priority, due: t.Enqueued.Add(t.delay), id: t.id}
	for {
		epoch, err := q.session.Epoch(ctx)
		if err != nil {
			return "", q.explain("enqueue", err)
		}
		q.epoch.Store(epoch)
		// The fence makes an attempt without an answer end for certain: see Settle.
		fence := epoch.Fence()
		txn := groupcommit.Txn{
			If: []clientv3.Cmp{fence.Cmp(), absent(q.task(t.id))},
			Then: []clientv3.Op{
				clientv3.OpPut(q.task(t.id), header(t, t.payload)),
				clientv3.OpPut(q.todo(p), encode(entry{})),
			},
			Else: []clientv3.Op{clientv3.OpGet(fence.Key(), clientv3.WithKeysOnly())},
		}
		if t.Dedupe != "" {
			key := q.dedupe(t.Dedupe)
			txn.If = append(txn.If, absent(key))
			txn.Then = append(txn.Then, clientv3.OpPut(key, t.id))
			txn.Else = append(txn.Else, clientv3.OpGet(key))
		}
		r, err := q.commits.Do(ctx, txn)
		switch {
		case err == nil && r.Succeeded:
			return t.id, nil
		case err == nil:
			if r.Value(0) != nil {
				epoch.Closed(fence)
			}
			if t.Dedupe != "" {
				if first := r.Value(1); first != nil {
					return string(first.Value), fmt.Errorf("%w: %q", ErrDuplicate, t.Dedupe)
				}
			}
			// The fence was closed by somebody else of this process.
		case errors.Is(err, rpctypes.ErrNoSpace):
			return "", fmt.Errorf("%w: %w", ErrFull, err)
		case groupcommit.Refused(err):
			return "", q.explain("enqueue", err)
		default:
			return q.settle(ctx, t, func(ctx context.Context) error {
				_, err := epoch.Settle(ctx, fence, q.task(t.id))
				return err
			}, err)
		}
	}
}

// settle finds out what has become of a task whose enqueuing was not answered.
// When the fence is closed it is there, or has been and is done already, or
// never will be. A dedupe key tells the last two apart.
func (q *Queue) settle(ctx context.Context, t task, fence func(context.Context) error, lost error) (string, error) {
	var found, remembered bool
	err := groupcommit.Repeat(ctx, func() error {
		if err := fence(ctx); err != nil {
			return err
		}
		r, err := q.commits.Do(ctx, groupcommit.Txn{Then: []clientv3.Op{
			clientv3.OpGet(q.task(t.id), clientv3.WithKeysOnly()),
			clientv3.OpGet(q.done(t.id), clientv3.WithKeysOnly()),
			clientv3.OpGet(q.dedupe(t.Dedupe)),
		}})
		if err != nil {
			return err
		}
		found = r.Value(0) != nil || r.Value(1) != nil
		first := r.Value(2)
		remembered = t.Dedupe != "" && first != nil && string(first.Value) == t.id
		return nil
	})
	switch {
	case err != nil:
		return t.id, fmt.Errorf("%w: %w (at first: %w)", ErrUnknown, err, lost)
	case found || remembered:
		return t.id, nil
	case t.Dedupe != "":
		return "", q.explain("enqueue: the task was not accepted", lost)
	}
	return t.id, fmt.Errorf("%w: %w", ErrUnknown, lost)
}
