package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/leaderworker/queue"
	"github.com/gotenure/tenure/session"
)

func newQueue(t *testing.T, s *session.Session, name string, opts ...queue.Option) *queue.Queue {
	t.Helper()
	q, err := queue.New(s, name, opts...)
	require.NoError(t, err)
	return q
}

// consume starts a consumer and returns what stops it and waits for that.
func consume(t *testing.T, q *queue.Queue, handler queue.Handler, opts ...queue.ConsumeOption) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- q.Consume(ctx, handler, opts...) }()
	stop := sync.OnceFunc(func() {
		cancel()
		require.NoError(t, harness.Got(t, ended))
	})
	t.Cleanup(stop)
	return stop
}

func mustEnqueue(t *testing.T, q *queue.Queue, payload string, opts ...queue.TaskOption) string {
	t.Helper()
	id, err := q.Enqueue(harness.Context(t), []byte(payload), opts...)
	require.NoError(t, err)
	return id
}

// awaitState waits until a task is in a state.
func awaitState(t *testing.T, q *queue.Queue, id string, state queue.State) queue.Info {
	t.Helper()
	for ctx := harness.Context(t); ; {
		info, err := q.Lookup(ctx, id)
		require.NoError(t, err)
		if info.State == state {
			return info
		}
	}
}

// awaitGone waits until nothing is known of a task.
func awaitGone(t *testing.T, q *queue.Queue, id string) {
	t.Helper()
	for ctx := harness.Context(t); ; {
		_, err := q.Lookup(ctx, id)
		if errors.Is(err, queue.ErrNoTask) {
			return
		}
		require.NoError(t, err)
	}
}

// desk is a handler whose tasks say that they have begun, and then wait to be
// let go or for the end of their context.
type desk struct {
	began chan *queue.Task
	ended chan error // the cause of the context of a task that was not let go
	let   chan error // what the handler returns
}

func newDesk() *desk {
	return &desk{began: make(chan *queue.Task, 1000), ended: make(chan error, 1000), let: make(chan error, 1000)}
}

func (d *desk) handle(ctx context.Context, t *queue.Task) error {
	d.began <- t
	select {
	case err := <-d.let:
		return err
	case <-ctx.Done():
		d.ended <- context.Cause(ctx)
		return ctx.Err()
	}
}

func atOnce(int) time.Duration { return 0 }

func TestEveryTaskIsDoneOnceAndNothingIsLeft(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		const tasks = 200
		var mu sync.Mutex
		seen := make(map[string]int)
		done := make(chan struct{}, tasks)
		for range 3 {
			consume(t, newQueue(t, c.Session(t), name), func(_ context.Context, task *queue.Task) error {
				mu.Lock()
				defer mu.Unlock()
				seen[string(task.Payload())]++
				done <- struct{}{}
				return nil
			}, queue.Workers(4), queue.Prefetch(4))
		}
		q := newQueue(t, c.Session(t), name)
		var payloads [][]byte
		for i := range tasks {
			payloads = append(payloads, fmt.Append(nil, i))
		}
		_, errs := q.EnqueueAll(harness.Context(t), payloads)
		require.NoError(t, errors.Join(errs...))
		for range tasks {
			harness.Got(t, done)
		}
		c.AwaitKeys(t, "/tenure/queues/"+name+"/shards/", 0)
		require.Empty(t, c.Keys(t, "/tenure/queues/"+name+"/tasks/"))
		require.Empty(t, c.Keys(t, "/tenure/queues/"+name+"/done/"))
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, seen, tasks)
		for payload, n := range seen {
			require.Equal(t, 1, n, payload)
		}
	})
}

func TestATaskWhoseWorkerDiesIsTakenOver(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		dying, heir := newDesk(), newDesk()
		q := newQueue(t, c.SessionOn(t, client, session.WithTTL(time.Second)), name)
		consume(t, q, dying.handle)
		id := mustEnqueue(t, q, "work")
		first := harness.Got(t, dying.began)
		require.Equal(t, 1, first.Try())
		other := newQueue(t, c.Session(t), name)
		consume(t, other, heir.handle)
		faults.Cut()
		faults.Break()
		second := harness.Got(t, heir.began)
		require.False(t, first.Valid(), "the first was told before the second began")
		require.ErrorIs(t, harness.Got(t, dying.ended), queue.ErrLost)
		require.Equal(t, id, second.ID())
		require.Equal(t, 2, second.Try())
		require.Equal(t, "work", string(second.Payload()))
		require.Greater(t, second.Token(), first.Token())
		require.False(t, guarded(t, c, first.Guard()))
		require.True(t, guarded(t, c, second.Guard()))
		heir.let <- nil
		awaitGone(t, other, id)
		faults.Mend()
	})
}

func TestAWorkerWhoseClaimIsGoneCannotSettleTheTask(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name, d := harness.Name(t), newDesk()
		q := newQueue(t, c.Session(t, session.WithTTL(time.Minute)), name)
		consume(t, q, d.handle)
		id := mustEnqueue(t, q, "work")
		first := harness.Got(t, d.began)
		_, err := c.Client().Delete(harness.Context(t), "/tenure/queues/"+name+"/shards/"+id[:1]+"/claims/"+id)
		require.NoError(t, err)
		d.let <- nil // it says that the task is done
		second := harness.Got(t, d.began)
		require.Equal(t, id, second.ID(), "the task is still to be done")
		require.Equal(t, 2, second.Try())
		require.Greater(t, second.Token(), first.Token())
		require.False(t, guarded(t, c, first.Guard()))
		require.True(t, guarded(t, c, second.Guard()))
		d.let <- nil
		awaitGone(t, q, id)
	})
}

func TestAFailedTaskIsTriedAgainAndEndsAmongTheDeadLetters(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		d := newDesk()
		q := newQueue(t, c.Session(t), harness.Name(t), queue.WithTries(3), queue.WithBackoff(func(n int) time.Duration {
			return time.Duration(n) * 10 * time.Millisecond
		}))
		consume(t, q, d.handle)
		id := mustEnqueue(t, q, "work", queue.Priority(queue.Highest))
		for try := range 3 {
			task := harness.Got(t, d.began)
			require.Equal(t, try+1, task.Try())
			if try > 0 {
				require.Equal(t, "no ink", task.LastError())
			}
			d.let <- errors.New("no ink")
		}
		info := awaitState(t, q, id, queue.Dead)
		require.Equal(t, 3, info.Tries)
		require.Equal(t, "no ink", info.Error)
		require.Equal(t, "work", string(info.Payload))
		dead, err := q.DeadLetters(harness.Context(t))
		require.NoError(t, err)
		require.Len(t, dead, 1)
		require.Equal(t, id, dead[0].ID)
		require.Empty(t, d.began)

		require.NoError(t, q.Replay(harness.Context(t), id))
		task := harness.Got(t, d.began)
		require.Equal(t, id, task.ID())
		require.Equal(t, 1, task.Try())
		d.let <- queue.Permanent(errors.New("never"))
		require.Equal(t, "never", awaitState(t, q, id, queue.Dead).Error)
		require.NoError(t, q.Discard(harness.Context(t), id))
		require.ErrorIs(t, q.Discard(harness.Context(t), id), queue.ErrNoTask)
		require.ErrorIs(t, q.Replay(harness.Context(t), id), queue.ErrNoTask)
		awaitGone(t, q, id)
	})
}

func TestATaskWithWhichEveryProcessDiesEndsAmongTheDeadLetters(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		d, s := newDesk(), c.Session(t)
		q := newQueue(t, s, harness.Name(t), queue.WithTries(2))
		consume(t, q, d.handle)
		id := mustEnqueue(t, q, "poison")
		for range 2 {
			harness.Got(t, d.began)
			epoch, err := s.Epoch(harness.Context(t))
			require.NoError(t, err)
			_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
			require.NoError(t, err)
			require.ErrorIs(t, harness.Got(t, d.ended), queue.ErrLost)
		}
		require.Contains(t, awaitState(t, q, id, queue.Dead).Error, "died")
	})
}

func TestADedupeKeyIsAcceptedOnceEvenWhenTheTaskIsDone(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		d := newDesk()
		q := newQueue(t, c.Session(t), harness.Name(t), queue.WithRetention(time.Second))
		id := mustEnqueue(t, q, "order", queue.Dedupe("order/4711"))
		again, err := q.Enqueue(harness.Context(t), []byte("order"), queue.Dedupe("order/4711"))
		require.ErrorIs(t, err, queue.ErrDuplicate)
		require.Equal(t, id, again)
		d.let <- nil
		consume(t, q, d.handle)
		harness.Got(t, d.began)
		require.Equal(t, queue.Done, awaitState(t, q, id, queue.Done).State)
		again, err = q.Enqueue(harness.Context(t), nil, queue.Dedupe("order/4711"))
		require.ErrorIs(t, err, queue.ErrDuplicate, "its producer has tried again, and comes late")
		require.Equal(t, id, again)
		other := mustEnqueue(t, q, "order", queue.Dedupe("order/4712"))
		require.NotEqual(t, id, other)
	})
}

func TestOfManyProducersWithOneDedupeKeyOneIsAccepted(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		accepted := make(chan string, 100)
		var group sync.WaitGroup
		for range 4 {
			q := newQueue(t, c.Session(t), name)
			for range 8 {
				group.Go(func() {
					id, err := q.Enqueue(harness.Context(t), nil, queue.Dedupe("once"))
					if err == nil {
						accepted <- id
					} else {
						require.ErrorIs(t, err, queue.ErrDuplicate)
					}
				})
			}
		}
		group.Wait()
		require.Len(t, accepted, 1)
	})
}

func TestATaskWhoseEnqueuingWasNotAnsweredIsThereOnce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		q := newQueue(t, c.SessionOn(t, client), name)
		prefix := "/tenure/queues/" + name + "/tasks/"
		faults.OnCall(once(func(req any) bool { return harness.Creates(req, prefix) }))
		id := mustEnqueue(t, q, "work")
		require.Equal(t, []string{prefix + id}, c.Keys(t, prefix))

		// Done before anybody asks: a dedupe key tells.
		d := newDesk()
		d.let <- nil
		d.let <- nil
		stop := consume(t, newQueue(t, c.Session(t), name), d.handle)
		harness.Got(t, d.began)
		awaitGone(t, q, id)
		faults.OnCall(once(func(req any) bool {
			if !harness.Creates(req, prefix) {
				return false
			}
			harness.Got(t, d.began)
			c.AwaitKeys(t, prefix, 0)
			return true
		}))
		id, err := q.Enqueue(harness.Context(t), nil, queue.Dedupe("known"))
		require.NoError(t, err)
		require.NotEmpty(t, id)

		// Never arrived: the fence says so.
		stop()
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, prefix) {
				return harness.ErrDown
			}
			return call()
		})
		_, err = q.Enqueue(harness.Context(t), nil, queue.Dedupe("other"))
		require.ErrorIs(t, err, harness.ErrDown)
		require.NotErrorIs(t, err, queue.ErrUnknown)
		_, err = q.Enqueue(harness.Context(t), nil)
		require.ErrorIs(t, err, queue.ErrUnknown, "it could be done already")
		require.Empty(t, c.Keys(t, prefix))
	})
}

func TestATaskWhoseClaimOrAckWasNotAnsweredIsDoneOnce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name, d := harness.Name(t), newDesk()
		client, faults := c.Dial(t)
		q := newQueue(t, c.SessionOn(t, client), name)
		shards := "/tenure/queues/" + name + "/shards/"
		for _, lose := range []func(any) bool{
			func(req any) bool {
				return harness.Creates(req, shards) && !harness.Creates(req, "/tenure/queues/"+name+"/tasks/")
			},
			func(req any) bool { return harness.Deletes(req, shards) },
		} {
			faults.OnCall(nil)
			stop := consume(t, q, d.handle)
			d.let <- nil
			warm := mustEnqueue(t, q, "warm")
			harness.Got(t, d.began)
			awaitGone(t, q, warm)
			faults.OnCall(once(lose))
			id := mustEnqueue(t, q, "work")
			task := harness.Got(t, d.began)
			require.Equal(t, id, task.ID())
			require.Equal(t, 1, task.Try())
			d.let <- nil
			awaitGone(t, q, id)
			c.AwaitKeys(t, shards, 0)
			require.Empty(t, d.began)
			stop()
		}
	})
}

func TestADelayedTaskIsNotClaimedBefore(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		d := newDesk()
		q := newQueue(t, c.Session(t), harness.Name(t))
		consume(t, q, d.handle)
		before := time.Now()
		id := mustEnqueue(t, q, "later", queue.Delay(300*time.Millisecond))
		require.Equal(t, queue.Delayed, awaitState(t, q, id, queue.Delayed).State)
		require.Equal(t, id, harness.Got(t, d.began).ID())
		require.GreaterOrEqual(t, time.Since(before), 299*time.Millisecond)
		d.let <- nil
	})
}

func TestAFullQueueRefusesLongBeforeEtcdDoes(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s, name, d := c.Session(t), harness.Name(t), newDesk()
		q := newQueue(t, s, name, queue.WithLimit(20))
		for range 20 {
			mustEnqueue(t, q, "work")
		}
		_, err := q.Enqueue(harness.Context(t), nil)
		require.ErrorIs(t, err, queue.ErrFull)
		require.Len(t, c.Keys(t, "/tenure/queues/"+name+"/tasks/"), 20)
		d.let <- nil
		stop := consume(t, q, d.handle)
		harness.Got(t, d.began)
		harness.Got(t, d.began)
		for { // there is room again
			_, err := q.Enqueue(harness.Context(t), nil)
			if err == nil {
				break
			}
			require.ErrorIs(t, err, queue.ErrFull)
		}
		stop()
		_, err = queue.New(s, name, queue.WithLimit(queue.MaxLimit), queue.WithMaxPayload(queue.MaxPayload))
		require.ErrorIs(t, err, queue.ErrConfig, "full, it would fill etcd")
	})
}

func TestAConsumerThatStopsGivesItsTasksBack(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name, d, heir := harness.Name(t), newDesk(), newDesk()
		q := newQueue(t, c.Session(t, session.WithTTL(time.Minute)), name)
		stop := consume(t, q, d.handle, queue.Prefetch(5))
		for range 3 {
			mustEnqueue(t, q, "work")
		}
		harness.Got(t, d.began)
		for claimed := 0; claimed < 3; {
			stats, err := q.Stats(harness.Context(t))
			require.NoError(t, err)
			claimed = stats.Claimed
		}
		stop()
		require.ErrorIs(t, harness.Got(t, d.ended), queue.ErrStopped)
		require.Empty(t, c.Keys(t, "/tenure/queues/"+name+"/consumers/"))
		consume(t, newQueue(t, c.Session(t), name), heir.handle, queue.Workers(3))
		for range 3 {
			require.Equal(t, 1, harness.Got(t, heir.began).Try(), "an interrupted try does not count")
			heir.let <- nil
		}
	})
}

func TestATaskThatIsCancelledIsNotDone(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name, d := harness.Name(t), newDesk()
		q := newQueue(t, c.Session(t), name)
		id := mustEnqueue(t, q, "work", queue.Dedupe("key"))
		require.NoError(t, q.Cancel(harness.Context(t), id))
		require.ErrorIs(t, q.Cancel(harness.Context(t), id), queue.ErrNoTask)
		require.Equal(t, queue.Cancelled, awaitState(t, q, id, queue.Cancelled).State)
		_, err := q.Enqueue(harness.Context(t), nil, queue.Dedupe("key"))
		require.ErrorIs(t, err, queue.ErrDuplicate)

		consume(t, q, d.handle)
		id = mustEnqueue(t, q, "work")
		task := harness.Got(t, d.began)
		require.Equal(t, id, task.ID(), "the first was cancelled")
		require.NoError(t, task.Progress(harness.Context(t), "half"))
		info := awaitState(t, q, id, queue.Claimed)
		require.Equal(t, "half", info.Progress)
		require.NoError(t, q.Cancel(harness.Context(t), id))
		require.ErrorIs(t, task.Progress(harness.Context(t), "more"), queue.ErrLost)
		require.ErrorIs(t, harness.Got(t, d.ended), queue.ErrLost)
		awaitGone(t, q, id)
	})
}

func TestResultsAndDedupeKeysAreForgottenAfterTheRetention(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		q := newQueue(t, c.Session(t), name, queue.WithRetention(time.Second))
		consume(t, q, func(_ context.Context, task *queue.Task) error {
			require.ErrorIs(t, task.SetResult(make([]byte, queue.DefaultMaxPayload+1)), queue.ErrConfig)
			return task.SetResult([]byte("result of " + string(task.Payload())))
		})
		id := mustEnqueue(t, q, "work", queue.Dedupe("key"))
		require.Equal(t, "result of work", string(awaitState(t, q, id, queue.Done).Result))
		c.AwaitKeys(t, "/tenure/queues/"+name+"/done/", 0)
		c.AwaitKeys(t, "/tenure/queues/"+name+"/dedupe/", 0)
		c.AwaitKeys(t, "/tenure/queues/"+name+"/expiry/", 0)
		awaitGone(t, q, id)
	})
}

func TestNoMoreTasksAreClaimedThanTheQueueAllows(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name, d := harness.Name(t), newDesk()
		var q *queue.Queue
		for range 3 {
			q = newQueue(t, c.Session(t), name, queue.WithMaxActive(2))
			consume(t, q, d.handle, queue.Workers(4))
		}
		const tasks = 12
		for range tasks {
			mustEnqueue(t, q, "work")
		}
		for range tasks {
			harness.Got(t, d.began)
			require.LessOrEqual(t, len(c.Keys(t, "/tenure/queues/"+name+"/slots/")), 2)
			stats, err := q.Stats(harness.Context(t))
			require.NoError(t, err)
			require.LessOrEqual(t, stats.Claimed, 2)
			d.let <- nil
		}
		c.AwaitKeys(t, "/tenure/queues/"+name+"/slots/", 0)
	})
}

func TestAnIdleConsumerTakesOverWhatABusyOneHasNoRoomFor(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name, busy, idle := harness.Name(t), newDesk(), newDesk()
		q := newQueue(t, c.Session(t), name)
		consume(t, q, busy.handle)
		const tasks = 10
		for range tasks {
			mustEnqueue(t, q, "work")
		}
		harness.Got(t, busy.began) // and is never let go
		consume(t, newQueue(t, c.Session(t), name), idle.handle)
		for range tasks - 1 {
			harness.Got(t, idle.began)
			idle.let <- nil
		}
	})
}

func TestAConsumerWhoseKeyIsDeletedByHandGoesOn(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name, d := harness.Name(t), newDesk()
		q := newQueue(t, c.Session(t), name)
		consume(t, q, d.handle)
		mustEnqueue(t, q, "work")
		harness.Got(t, d.began)
		d.let <- nil
		key := c.Keys(t, "/tenure/queues/"+name+"/consumers/")[0]
		_, err := c.Client().Delete(harness.Context(t), key)
		require.NoError(t, err)
		mustEnqueue(t, q, "work")
		harness.Got(t, d.began)
		d.let <- nil
		c.AwaitKeys(t, key, 1)
	})
}

func TestAHandlerThatHangsIsToldAndItsTaskTriedAgain(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		d := newDesk()
		q := newQueue(t, c.Session(t), harness.Name(t), queue.WithBackoff(atOnce))
		consume(t, q, d.handle, queue.Stall(200*time.Millisecond))
		id := mustEnqueue(t, q, "work")
		harness.Got(t, d.began)
		require.ErrorIs(t, harness.Got(t, d.ended), queue.ErrStalled)
		task := harness.Got(t, d.began)
		require.Equal(t, id, task.ID())
		require.Equal(t, 2, task.Try())
		require.Contains(t, task.LastError(), "no progress")
		d.let <- nil
	})
}

func TestClosingTheSessionEndsTheConsumer(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s, d := c.Session(t), newDesk()
		q := newQueue(t, s, harness.Name(t))
		ended := make(chan error, 1)
		go func() { ended <- q.Consume(context.Background(), d.handle) }()
		mustEnqueue(t, q, "work")
		harness.Got(t, d.began)
		require.NoError(t, s.Close(harness.Context(t)))
		require.ErrorIs(t, harness.Got(t, d.ended), session.ErrClosed)
		require.ErrorIs(t, harness.Got(t, ended), session.ErrClosed)
		_, err := q.Enqueue(harness.Context(t), nil)
		require.ErrorIs(t, err, session.ErrClosed)
	})
}

// Each task is claimed by one consumer, and the others hardly try.
func TestConsumersDoNotHerd(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		var claims sync.Map
		count := make(chan struct{}, 10_000)
		done := make(chan struct{}, 1000)
		for range 8 {
			client, faults := c.Dial(t)
			faults.OnCall(func(req any, call func() error) error {
				if harness.Creates(req, "/tenure/queues/"+name+"/shards/") {
					count <- struct{}{}
				}
				return call()
			})
			consume(t, newQueue(t, c.SessionOn(t, client), name), func(_ context.Context, task *queue.Task) error {
				_, twice := claims.LoadOrStore(task.ID(), true)
				require.False(t, twice)
				done <- struct{}{}
				return nil
			}, queue.Workers(4))
		}
		c.AwaitKeys(t, "/tenure/queues/"+name+"/consumers/", 8)
		q := newQueue(t, c.Session(t), name)
		const tasks = 50
		for range tasks {
			mustEnqueue(t, q, "work")
			harness.Got(t, done)
		}
		require.LessOrEqual(t, len(count), tasks*2, "eight consumers, and one claim for each task, or hardly more")
	})
}

func TestQueuesAndTasksThatCannotWorkAreRefusedAtOnce(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s := c.Session(t)
		for _, opt := range []queue.Option{
			queue.WithLimit(0), queue.WithLimit(queue.MaxLimit + 1), queue.WithMaxPayload(0), queue.WithMaxPayload(queue.MaxPayload + 1),
			queue.WithTries(0), queue.WithTries(queue.MaxTries + 1), queue.WithBackoff(nil), queue.WithRetention(0),
			queue.WithRetention(queue.MaxRetention + 1), queue.WithMaxActive(0), queue.WithMaxActive(queue.MaxActive + 1), queue.WithLogger(nil),
		} {
			_, err := queue.New(s, "any", opt)
			require.ErrorIs(t, err, queue.ErrConfig)
		}
		_, err := queue.New(s, "")
		require.ErrorIs(t, err, queue.ErrConfig)
		_, err = queue.New(nil, "any")
		require.ErrorIs(t, err, queue.ErrConfig)

		q := newQueue(t, s, harness.Name(t), queue.WithMaxPayload(10))
		for _, opt := range []queue.TaskOption{
			queue.Delay(-1), queue.Delay(queue.MaxDelay + 1), queue.Priority(-1), queue.Priority(queue.Highest + 1),
			queue.Dedupe(""), queue.Dedupe(strings.Repeat("x", queue.MaxDedupe+1)),
		} {
			_, err := q.Enqueue(harness.Context(t), nil, opt)
			require.ErrorIs(t, err, queue.ErrConfig)
		}
		_, err = q.Enqueue(harness.Context(t), make([]byte, 11))
		require.ErrorIs(t, err, queue.ErrConfig)
		handler := func(context.Context, *queue.Task) error { return nil }
		for _, opt := range []queue.ConsumeOption{queue.Workers(0), queue.Prefetch(-1), queue.Drain(-1), queue.Stall(0)} {
			require.ErrorIs(t, q.Consume(harness.Context(t), handler, opt), queue.ErrConfig)
		}
		require.ErrorIs(t, q.Consume(harness.Context(t), nil), queue.ErrConfig)
		for _, id := range []string{"", "x", "9aaaaaaaaaaaaaaaa", "0aaaaaaaaaaaaaaa/"} {
			_, err := q.Lookup(harness.Context(t), id)
			require.ErrorIs(t, err, queue.ErrNoTask)
			require.ErrorIs(t, q.Cancel(harness.Context(t), id), queue.ErrNoTask)
		}
	})
}
