package queue

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/internal/prefixwatch"
)

// tidyBatch is how many tasks are forgotten at a time.
const tidyBatch = 256

// tidyEvery is how often the consumer that looks after the first shard forgets
// what was kept for long enough.
func (q *Queue) tidyEvery() time.Duration {
	return min(max(q.retention/10, time.Second), time.Minute)
}

// tidy forgets, now and then, tasks that were done longer than the retention
// ago, and their dedupe keys.
func (c *consumer) tidy(now time.Time) {
	if c.watches[0] == nil || now.Sub(c.tidied) < c.tidyEvery() {
		return
	}
	c.tidied = now.Add(rand.N(c.tidyEvery() / 4))
	c.helpers.Go(func() {
		if err := c.forgetUntil(c.ctx, now); err != nil && c.ctx.Err() == nil {
			c.log.Debug("tidying failed", "queue", c.name, "err", err)
		}
	})
}

// forgetUntil forgets what was to be kept until then. The names of the keys sort
// by that time, so it reads no more than it forgets.
func (q *Queue) forgetUntil(ctx context.Context, until time.Time) error {
	first, last := q.prefix+"expiry/", q.prefix+"expiry/"+expiryTime(until)
	for {
		attempt, cancel := context.WithTimeout(ctx, prefixwatch.ReadTimeout)
		resp, err := q.session.Client().Get(attempt, first, clientv3.WithRange(last), clientv3.WithLimit(tidyBatch))
		cancel()
		if err != nil {
			return err
		}
		var group sync.WaitGroup
		var failed error
		var mu sync.Mutex
		for _, kv := range resp.Kvs {
			_, id, _ := strings.Cut(strings.TrimPrefix(string(kv.Key), first), "-")
			group.Go(func() {
				if _, err := q.commits.Do(ctx, q.forget(string(kv.Key), id, string(kv.Value))); err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
				}
			})
		}
		group.Wait()
		if failed != nil || !resp.More {
			return failed
		}
	}
}

// forget deletes what is kept of a task that is done. Its dedupe key goes too,
// unless it is another task's by now.
func (q *Queue) forget(expiry, id, dedupe string) groupcommit.Txn {
	txn := groupcommit.Txn{Then: []clientv3.Op{clientv3.OpDelete(expiry), clientv3.OpDelete(q.done(id))}}
	if dedupe != "" {
		key := q.dedupe(dedupe)
		txn.If = []clientv3.Cmp{clientv3.Compare(clientv3.Value(key), "=", id)}
		txn.Else = txn.Then
		txn.Then = append(txn.Then[:len(txn.Then):len(txn.Then)], clientv3.OpDelete(key))
	}
	return txn
}
