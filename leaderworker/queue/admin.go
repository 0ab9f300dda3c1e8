package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/internal/prefixwatch"
)

// A State is where a task is.
type State string

const (
	Waiting   State = "waiting"   // to be claimed now
	Delayed   State = "delayed"   // to be claimed later: by its delay, or after a try that failed
	Claimed   State = "claimed"   // a consumer has it
	Dead      State = "dead"      // a dead letter
	Done      State = "done"      // done, and kept for the retention
	Cancelled State = "cancelled" // cancelled, and its dedupe key kept for the retention
)

// An Info is what is known of a task.
type Info struct {
	ID       string
	State    State
	Payload  []byte // nil once it is done or cancelled
	Priority int
	Enqueued time.Time
	Due      time.Time // of one that is to be done
	Tries    int
	Error    string // of the last try that failed

	Session  string    // who has it, or has done it
	Since    time.Time // since when it is claimed, dead, done or cancelled
	Progress string    // of one that is claimed
	Result   []byte    // of one that is done
}

// Lookup returns what is known of a task, or ErrNoTask. It costs a read, and
// for a task that is to be done one of the names in its shard.
func (q *Queue) Lookup(ctx context.Context, id string) (Info, error) {
	info := Info{ID: id}
	var err error
	for range 3 { // a task may move between two reads
		var found bool
		if found, err = q.lookup(ctx, id, &info); found || err != nil {
			break
		}
		err = fmt.Errorf("%w: %q", ErrNoTask, id)
	}
	return info, err
}

func (q *Queue) lookup(ctx context.Context, id string, info *Info) (found bool, err error) {
	if _, ok := shardOf(id); !ok {
		return false, nil
	}
	r, err := q.session.Client().Txn(ctx).Then(
		clientv3.OpGet(q.task(id)), clientv3.OpGet(q.done(id)), clientv3.OpGet(q.dead(id)), clientv3.OpGet(q.claim(id)),
	).Commit()
	if err != nil {
		return false, q.explain("lookup", err)
	}
	value := func(i int) []byte {
		if kvs := r.Responses[i].GetResponseRange().Kvs; len(kvs) == 1 {
			return kvs[0].Value
		}
		return nil
	}
	if v := value(1); v != nil {
		var o outcome
		if info.Result, err = parseHeader(v, &o); err != nil {
			return false, err
		}
		info.State, info.Since, info.Tries, info.Session = o.State, o.At, o.Tries, o.Session
		return true, nil
	}
	body := value(0)
	if body == nil {
		return false, nil
	}
	var t task
	if info.Payload, err = parseHeader(body, &t); err != nil {
		return false, err
	}
	info.Priority, info.Enqueued = t.Priority, t.Enqueued
	if v := value(2); v != nil {
		var d dead
		if err := json.Unmarshal(v, &d); err != nil {
			return false, q.explain("a dead letter", err)
		}
		info.State, info.Since, info.Tries, info.Error = Dead, d.At, d.Tries, d.Error
		return true, nil
	}
	at, err := q.find(ctx, id)
	if err != nil || at == nil {
		return false, err
	}
	info.Due, info.Tries, info.Error = at.place.due, at.entry.Tries, at.entry.Error
	info.State = Waiting
	if at.place.due.After(time.Now()) {
		info.State = Delayed
	}
	if v := value(3); v != nil {
		var c claim
		if err := json.Unmarshal(v, &c); err != nil {
			return false, q.explain("a claim", err)
		}
		info.State, info.Session, info.Since, info.Progress = Claimed, c.Session, c.Since, c.Progress
	}
	return true, nil
}

// find returns where a task that is to be done stands, or nil.
func (q *Queue) find(ctx context.Context, id string) (*item, error) {
	n, ok := shardOf(id)
	if !ok {
		return nil, nil
	}
	prefix := q.shard(n) + todo
	names, err := q.session.Client().Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, q.explain("find", err)
	}
	for _, kv := range names.Kvs {
		p, ok := parsePlace(strings.TrimPrefix(string(kv.Key), prefix))
		if !ok || p.id != id {
			continue
		}
		resp, err := q.session.Client().Get(ctx, string(kv.Key))
		if err != nil || len(resp.Kvs) == 0 {
			return nil, err
		}
		it := &item{place: p, mod: resp.Kvs[0].ModRevision}
		return it, json.Unmarshal(resp.Kvs[0].Value, &it.entry)
	}
	return nil, nil
}

// Cancel takes a task that is not done out of the queue, and returns ErrNoTask
// if there is none. If a consumer has it, the context of its handler ends, with
// the cause ErrLost, when the session next looks after its keys: after a third of
// its TTL, or the handler's next Progress. What the handler returns then no
// longer counts. A dedupe key is remembered for the retention.
func (q *Queue) Cancel(ctx context.Context, id string) error {
	sent := false
	return q.move(ctx, "cancel", func(ctx context.Context) (groupcommit.Txn, error) {
		at, err := q.find(ctx, id)
		switch {
		case err != nil:
			return groupcommit.Txn{}, err
		case at == nil && sent:
			return groupcommit.Txn{}, nil // by an attempt whose answer was lost
		case at == nil:
			return groupcommit.Txn{}, fmt.Errorf("%w: %q is not to be done", ErrNoTask, id)
		}
		sent = true
		var t task
		var c claim
		if err := q.read(ctx, q.task(id), func(v []byte) error { _, err := parseHeader(v, &t); return err }); err != nil {
			return groupcommit.Txn{}, err
		}
		if err := q.read(ctx, q.claim(id), func(v []byte) error { return json.Unmarshal(v, &c) }); err != nil {
			return groupcommit.Txn{}, err
		}
		txn := groupcommit.Txn{
			If: []clientv3.Cmp{unchanged(q.todo(at.place), at.mod)},
			Then: []clientv3.Op{
				clientv3.OpDelete(q.todo(at.place)), clientv3.OpDelete(q.claim(id)), clientv3.OpDelete(q.task(id)),
			},
		}
		if c.Slot > 0 {
			txn.Then = append(txn.Then, clientv3.OpDelete(q.slot(c.Slot)))
		}
		o := outcome{State: Cancelled, At: now(), Tries: at.entry.Tries, Session: q.session.Name(), Dedupe: t.Dedupe}
		txn.Then = append(txn.Then, q.keep(id, o, nil)...)
		return txn, nil
	})
}

// read calls f with the value of a key, if it is there.
func (q *Queue) read(ctx context.Context, key string, f func([]byte) error) error {
	resp, err := q.session.Client().Get(ctx, key)
	if err != nil {
		return err
	}
	if len(resp.Kvs) == 1 {
		return f(resp.Kvs[0].Value)
	}
	return nil
}

// DeadLetters returns the tasks that were tried too often or failed for good, by
// id. Lookup has their payloads. It costs one range.
func (q *Queue) DeadLetters(ctx context.Context) ([]Info, error) {
	resp, err := q.session.Client().Get(ctx, q.prefix+"dead/", clientv3.WithPrefix())
	if err != nil {
		return nil, q.explain("dead letters", err)
	}
	infos := make([]Info, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		var d dead
		if err := json.Unmarshal(kv.Value, &d); err != nil {
			return nil, q.explain("a dead letter", err)
		}
		infos = append(infos, Info{
			ID: strings.TrimPrefix(string(kv.Key), q.prefix+"dead/"), State: Dead,
			Priority: d.Priority, Tries: d.Tries, Error: d.Error, Since: d.At,
		})
	}
	return infos, nil
}

// Replay puts a dead letter back into the queue, with all its tries. It returns
// ErrNoTask if there is none of that id.
func (q *Queue) Replay(ctx context.Context, id string) error {
	return q.raise(ctx, "replay", id, func(d dead, _ task) []clientv3.Op {
		return []clientv3.Op{clientv3.OpPut(q.todo(place{priority: d.Priority, due: now(), id: id}), encode(entry{}))}
	})
}

// Discard deletes a dead letter. Its dedupe key may be used again.
func (q *Queue) Discard(ctx context.Context, id string) error {
	return q.raise(ctx, "discard", id, func(_ dead, t task) []clientv3.Op {
		ops := []clientv3.Op{clientv3.OpDelete(q.task(id))}
		if t.Dedupe != "" {
			ops = append(ops, clientv3.OpDelete(q.dedupe(t.Dedupe)))
		}
		return ops
	})
}

// raise removes a dead letter and does more in the same transaction.
func (q *Queue) raise(ctx context.Context, what, id string, more func(dead, task) []clientv3.Op) error {
	sent := false
	return q.move(ctx, what, func(ctx context.Context) (groupcommit.Txn, error) {
		resp, err := q.session.Client().Get(ctx, q.dead(id))
		switch {
		case err != nil:
			return groupcommit.Txn{}, err
		case len(resp.Kvs) == 0 && sent:
			return groupcommit.Txn{}, nil
		case len(resp.Kvs) == 0:
			return groupcommit.Txn{}, fmt.Errorf("%w: %q is no dead letter", ErrNoTask, id)
		}
		sent = true
		var d dead
		var t task
		if err := json.Unmarshal(resp.Kvs[0].Value, &d); err != nil {
			return groupcommit.Txn{}, err
		}
		if err := q.read(ctx, q.task(id), func(v []byte) error { _, err := parseHeader(v, &t); return err }); err != nil {
			return groupcommit.Txn{}, err
		}
		return groupcommit.Txn{
			If:   []clientv3.Cmp{unchanged(q.dead(id), resp.Kvs[0].ModRevision)},
			Then: append(more(d, t), clientv3.OpDelete(q.dead(id))),
		}, nil
	})
}

// move reads, makes a transaction of what was read, and commits it, again and
// again until nothing has changed in between. An empty one means that there is
// nothing to do.
func (q *Queue) move(ctx context.Context, what string, prepare func(context.Context) (groupcommit.Txn, error)) error {
	var given error
	err := groupcommit.Repeat(ctx, func() error {
		attempt, cancel := context.WithTimeout(ctx, prefixwatch.ReadTimeout)
		defer cancel()
		for {
			txn, err := prepare(attempt)
			if errors.Is(err, ErrNoTask) || err == nil && len(txn.Then) == 0 {
				given = err
				return nil
			}
			if err != nil {
				return err
			}
			r, err := q.commits.Do(attempt, txn)
			if err != nil || r.Succeeded {
				return err
			}
		}
	})
	if given != nil {
		return given
	}
	if err != nil {
		return q.explain(what, err)
	}
	return nil
}

// Stats counts the tasks of a queue.
type Stats struct {
	Waiting, Delayed, Claimed, Dead int
	Consumers                       int // that have room
}

// Stats counts. It costs one range over the names of all tasks that are to be
// done, and two counts.
func (q *Queue) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	resp, err := q.session.Client().Get(ctx, q.prefix+"shards/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return s, q.explain("stats", err)
	}
	at := time.Now()
	for _, kv := range resp.Kvs {
		_, rest, _ := strings.Cut(strings.TrimPrefix(string(kv.Key), q.prefix+"shards/"), "/")
		switch name, isTask := strings.CutPrefix(rest, todo); {
		case !isTask:
			s.Claimed++
		default:
			if p, _ := parsePlace(name); p.due.After(at) {
				s.Delayed++
			} else {
				s.Waiting++
			}
		}
	}
	s.Waiting = max(0, s.Waiting-s.Claimed) // a claimed task keeps its place
	counts, err := q.session.Client().Txn(ctx).Then(
		clientv3.OpGet(q.prefix+"dead/", clientv3.WithPrefix(), clientv3.WithCountOnly()),
		clientv3.OpGet(q.consumers(), clientv3.WithPrefix(), clientv3.WithCountOnly()),
	).Commit()
	if err != nil {
		return s, q.explain("stats", err)
	}
	s.Dead = int(counts.Responses[0].GetResponseRange().Count)
	s.Consumers = int(counts.Responses[1].GetResponseRange().Count)
	return s, nil
}
