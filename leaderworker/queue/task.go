package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/session"
)

// MaxText bounds, in bytes, what is kept of an error and of a progress.
const MaxText = 1024

// A Task is a task that this process has claimed. It is safe for concurrent use.
type Task struct {
	task
	consumer *consumer
	item     *item
	id       string
	place    place
	entry    entry // with this try counted
	token    int64
	slot     int // 0 if there is no bound
	epoch    *session.Epoch

	cancel  context.CancelCauseFunc // nil until it is begun
	tracked *session.Tracked
	lost    atomic.Bool // before the context is cancelled
	stalled *time.Timer // nil unless stalls are watched for

	saying sync.Mutex // held while a progress is written, so that the latest stays
	claim  claim      // as it was written

	mu     sync.Mutex
	result []byte
}

// ID returns the task's id. It is the same at every try, so it can serve as a
// key against doing a thing twice.
func (t *Task) ID() string { return t.id }

// Payload returns what was enqueued.
func (t *Task) Payload() []byte { return t.payload }

// Try counts how often the task was claimed, from 1. A try that was interrupted
// because its consumer stopped is not counted.
func (t *Task) Try() int { return t.entry.Tries }

// LastError is what the last try that failed has returned, or "".
func (t *Task) LastError() string { return t.entry.Error }

// Enqueued is when the task was put into the queue, by the clock of who did.
func (t *Task) Enqueued() time.Time { return t.task.Enqueued }

// Token is the fencing token: each later claim of the same task has a larger
// one. It is the create revision of the claim's key in etcd.
func (t *Task) Token() int64 { return t.token }

// Guard returns the comparison that holds while this process has the claim, for
// the If of a transaction.
func (t *Task) Guard() []clientv3.Cmp {
	return []clientv3.Cmp{created(t.consumer.Queue.claim(t.id), t.token)}
}

// Valid tells whether the claim is certainly still this process's. It does no
// I/O and is right in the first instruction after a suspend.
func (t *Task) Valid() bool { return !t.lost.Load() && t.epoch.Valid() }

// SetResult keeps a result for the retention, if the task is done. It returns
// ErrConfig for one that is larger than a payload may be. The last call counts.
func (t *Task) SetResult(result []byte) error {
	if limit := t.consumer.maxPayload; len(result) > limit {
		return fmt.Errorf("%w: a result of %d bytes is larger than %d", ErrConfig, len(result), limit)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result = append([]byte(nil), result...)
	return nil
}

// Progress says that the task goes on, and how: a short text for Lookup, of
// which MaxText bytes are kept. It costs one transaction, and returns ErrLost if
// the claim is no longer this process's, which is how a handler learns soonest
// that its task was cancelled.
func (t *Task) Progress(ctx context.Context, text string) error {
	if !t.Valid() {
		return ErrLost
	}
	if t.stalled != nil {
		t.stalled.Reset(t.consumer.stall)
	}
	t.saying.Lock()
	defer t.saying.Unlock()
	said := t.claim
	said.Progress = cut(text)
	key := t.consumer.Queue.claim(t.id)
	r, err := groupcommit.Until(ctx, t.consumer.Queue.commits, groupcommit.Txn{
		If:   t.Guard(),
		Then: []clientv3.Op{clientv3.OpPut(key, encode(said), clientv3.WithLease(t.epoch.Lease()))},
	})
	switch {
	case err != nil:
		return t.consumer.explain("progress", err)
	case !r.Succeeded:
		t.lose(errors.New("it was cancelled, or its key deleted"))
		return ErrLost
	}
	t.claim = said
	return nil
}

func (t *Task) lose(cause error) {
	t.lost.Store(true)
	t.cancel(fmt.Errorf("%w: %w", ErrLost, cause))
}

// begin has a task worked on.
func (c *consumer) begin(t *Task) {
	var ctx context.Context
	ctx, t.cancel = context.WithCancelCause(context.WithoutCancel(c.runCtx))
	t.tracked = &session.Tracked{Key: c.Queue.claim(t.id), Revision: t.token, Lost: t.lose}
	if err := c.epoch.Track(t.tracked); err != nil {
		t.tracked = nil
		c.settle(t, verdict{giveBack: true}) // the lease is gone, or the key was claimed twice by hand
		return
	}
	if c.stall > 0 {
		t.stalled = time.AfterFunc(c.stall, func() { t.cancel(ErrStalled) })
	}
	c.active[t] = true
	c.crew.working++
	joined := c.epoch.Work()
	c.crew.group.Go(func() {
		defer joined()
		v := t.work(ctx, c.crew.handler)
		c.crew.mail.Post(func() {
			c.crew.working--
			if c == c.crew.current {
				delete(c.active, t)
				c.settle(t, v)
				return
			}
			t.end()
		})
	})
}

// A verdict says what is to become of a task that was claimed.
type verdict struct {
	giveBack bool
	err      error // nil: it is done
	result   []byte
}

func (t *Task) work(ctx context.Context, handler Handler) verdict {
	err := handler(ctx, t)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		return verdict{result: t.result}
	case errors.Is(context.Cause(ctx), ErrStopped):
		return verdict{giveBack: true} // it was interrupted, and has not failed
	case errors.Is(context.Cause(ctx), ErrStalled):
		return verdict{err: fmt.Errorf("%w: %w", ErrStalled, err)}
	}
	return verdict{err: err}
}

// end ends what begin began.
func (t *Task) end() {
	t.lost.Store(true)
	if t.stalled != nil {
		t.stalled.Stop()
	}
	if t.tracked != nil {
		t.epoch.Untrack(t.tracked)
	}
	if t.cancel != nil {
		t.cancel(nil)
	}
}

// settle writes what has become of a task. It compares the token: a claim that
// was lost has no say.
func (c *consumer) settle(t *Task, v verdict) {
	c.settling[t] = true
	key := c.Queue.claim(t.id)
	txn := groupcommit.Txn{
		If:   t.Guard(),
		Then: append([]clientv3.Op{clientv3.OpDelete(key)}, c.consequence(t, v)...),
		Else: []clientv3.Op{clientv3.OpGet(key, clientv3.WithKeysOnly())},
	}
	if t.slot > 0 {
		txn.Then = append(txn.Then, clientv3.OpDelete(c.slot(t.slot)))
	}
	c.submit(txn, func(r groupcommit.Result, err error) {
		if err != nil {
			c.refused("settle", err)
			c.retry(t, v)
			return
		}
		delete(c.settling, t)
		t.end()
		if r.Succeeded {
			c.backlog.release(t.id, r.Revision)
			if !v.giveBack {
				c.backlog.remove(t.place, r.Revision)
			}
		} else if r.Value(0) == nil {
			// Lost, or an attempt before this one was carried out.
			c.backlog.release(t.id, r.Revision+1)
		}
		c.backlog.free(t.item)
	})
}

// retry settles a task again after a while.
func (c *consumer) retry(t *Task, v verdict) {
	c.helpers.Go(func() {
		timer := time.NewTimer(refusedPause)
		defer timer.Stop()
		select {
		case <-timer.C:
			c.post(func() { c.settle(t, v) })
		case <-c.ctx.Done():
		}
	})
}

// consequence is what a verdict makes of a task's other keys.
func (c *consumer) consequence(t *Task, v verdict) []clientv3.Op {
	todo := c.todo(t.place)
	switch {
	case v.giveBack:
		back := t.entry
		back.Tries--
		return []clientv3.Op{clientv3.OpPut(todo, encode(back))}
	case v.err == nil:
		o := outcome{State: Done, At: now(), Tries: t.entry.Tries, Token: t.token, Session: c.session.Name(), Dedupe: t.Dedupe}
		return append(c.keep(t.id, o, v.result), clientv3.OpDelete(todo), clientv3.OpDelete(c.task(t.id)))
	}
	text := cut(v.err.Error())
	if hopeless := (permanent{}); errors.As(v.err, &hopeless) || t.entry.Tries >= c.tries {
		d := dead{At: now(), Priority: t.place.priority, Tries: t.entry.Tries, Error: text}
		return []clientv3.Op{clientv3.OpDelete(todo), clientv3.OpPut(c.dead(t.id), encode(d))}
	}
	again := t.place
	// Later than before in any case: another place has another name.
	again.due = now().Add(max(c.backoff(t.entry.Tries), 0))
	if earliest := t.place.due.Add(time.Millisecond); again.due.Before(earliest) {
		again.due = earliest
	}
	return []clientv3.Op{
		clientv3.OpDelete(todo),
		clientv3.OpPut(c.todo(again), encode(entry{Tries: t.entry.Tries, Error: text})),
	}
}

func cut(text string) string {
	if len(text) <= MaxText {
		return text
	}
	end := MaxText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}
