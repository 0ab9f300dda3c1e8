package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/prefixwatch"
)

const (
	// share is the part of the room left that one process may use up before it
	// counts again: other processes enqueue as well.
	share = 8
	// countAge is how long a count is believed, and recount how long to wait
	// before a queue that was full is counted again.
	countAge = time.Second
	recount  = 100 * time.Millisecond
)

// A room bounds how many tasks a queue holds, without a key that everybody
// writes: each process counts the tasks now and then, and uses up a part of the
// room that it has seen. With more than eight processes that enqueue as fast as
// they can, the limit may be exceeded by a few parts in a hundred.
type room struct {
	mu      sync.Mutex
	left    int // that may be enqueued without counting again
	counted time.Time
	full    bool
}

// take uses up the room of one task, or returns ErrFull.
func (r *room) take(ctx context.Context, q *Queue) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	age := time.Since(r.counted)
	switch {
	case r.left > 0 && age < countAge:
	case r.full && age < recount:
		return fmt.Errorf("%w: %q holds %d tasks", ErrFull, q.name, q.limit)
	default:
		if err := r.count(ctx, q); err != nil {
			return err
		}
	}
	if r.left == 0 {
		return fmt.Errorf("%w: %q holds %d tasks", ErrFull, q.name, q.limit)
	}
	r.left--
	return nil
}

func (r *room) count(ctx context.Context, q *Queue) error {
	ctx, cancel := context.WithTimeout(ctx, prefixwatch.ReadTimeout)
	defer cancel()
	resp, err := q.session.Client().Get(ctx, q.prefix+"tasks/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return q.explain("count", err)
	}
	free := q.limit - int(resp.Count)
	r.full = free <= 0
	r.left = min(max(free, 0), max(free/share, 1))
	r.counted = time.Now()
	return nil
}
