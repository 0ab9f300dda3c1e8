package conformance

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/leaderworker/cron"
	"github.com/gotenure/tenure/session"
)

// scheduler starts a scheduler on a session and returns it, and what stops it
// and waits for that.
func scheduler(t *testing.T, s *session.Session, name string, jobs []cron.Job, opts ...cron.Option) (*cron.Scheduler, func()) {
	t.Helper()
	c, err := cron.New(s, name, opts...)
	require.NoError(t, err)
	require.NoError(t, c.Set(jobs...))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		require.NoError(t, harness.Got(t, ended))
	})
	t.Cleanup(stop)
	return c, stop
}

// oftenEnough is an interval at which a test sees ticks without waiting long.
func oftenEnough(t *testing.T) cron.Schedule {
	t.Helper()
	s, err := cron.Every(100 * time.Millisecond)
	require.NoError(t, err)
	return s
}

// never is the schedule of a job that is only triggered.
func never() cron.Schedule { return cron.At(time.Now().Add(24 * time.Hour)) }

func TestEachTickRunsInOneProcessOnly(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		type ran struct {
			tick  time.Time
			token int64
		}
		runs := make(chan ran, 1000)
		var last *cron.Scheduler
		for range 3 {
			last, _ = scheduler(t, c.Session(t), name, []cron.Job{{
				Name: "tick", Schedule: oftenEnough(t),
				Run: func(_ context.Context, r *cron.Run) error {
					runs <- ran{r.Tick(), r.Token()}
					r.SetResult("fine")
					return nil
				},
			}})
		}
		seen := make(map[time.Time]bool)
		var before ran
		for range 8 {
			run := harness.Got(t, runs)
			require.False(t, seen[run.tick], "a tick ran twice")
			seen[run.tick] = true
			require.True(t, run.tick.After(before.tick))
			require.Greater(t, run.token, before.token)
			before = run
		}
		require.NoError(t, last.Pause(harness.Context(t), "tick", "enough"))
		awaitIdle(t, last, "tick")
		records, err := last.History(harness.Context(t), "tick")
		require.NoError(t, err)
		done := 0
		for _, r := range records {
			if r.Outcome == cron.Done {
				require.True(t, seen[r.Tick] || r.Tick.After(before.tick))
				require.Equal(t, "fine", r.Result)
				require.NotEmpty(t, r.Session)
				done++
			}
		}
		require.GreaterOrEqual(t, done, 8)
	})
}

// awaitIdle waits until no run of the job goes on or waits.
func awaitIdle(t *testing.T, c *cron.Scheduler, job string) {
	t.Helper()
	ctx := harness.Context(t)
	for {
		status := statusOf(t, c, job)
		if len(status.Active) == 0 && len(status.Waiting) == 0 {
			return
		}
		require.NoError(t, ctx.Err(), "it goes on")
	}
}

func statusOf(t *testing.T, c *cron.Scheduler, job string) cron.JobStatus {
	t.Helper()
	all, err := c.Status(harness.Context(t))
	require.NoError(t, err)
	for _, status := range all {
		if status.Name == job {
			return status
		}
	}
	require.FailNow(t, "no such job", job)
	return cron.JobStatus{}
}

// trigger triggers a job as soon as it is known.
func trigger(t *testing.T, c *cron.Scheduler, job string) string {
	t.Helper()
	ctx := harness.Context(t)
	for {
		id, err := c.Trigger(ctx, job)
		if !errors.Is(err, cron.ErrUnknownJob) {
			require.NoError(t, err)
			return id
		}
	}
}

func record(t *testing.T, c *cron.Scheduler, job, id string) cron.Record {
	t.Helper()
	records, err := c.History(harness.Context(t), job)
	require.NoError(t, err)
	for _, r := range records {
		if r.ID == id {
			return r
		}
	}
	require.FailNow(t, "no such record", id)
	return cron.Record{}
}

// blocked is a job whose runs say that they have begun, and then wait to be let
// go or for the end of their context.
type blocked struct {
	began chan *cron.Run
	ended chan error // the cause of the context of a run that was not let go
	let   chan error // what the run returns
}

func newBlocked() *blocked {
	return &blocked{began: make(chan *cron.Run, 100), ended: make(chan error, 100), let: make(chan error, 100)}
}

func (b *blocked) run(ctx context.Context, r *cron.Run) error {
	b.began <- r
	select {
	case err := <-b.let:
		return err
	case <-ctx.Done():
		b.ended <- context.Cause(ctx)
		return ctx.Err()
	}
}

func (b *blocked) job() cron.Job { return cron.Job{Name: "job", Schedule: never(), Run: b.run} }

func TestARunWhoseProcessDiesIsTakenOverAndTheRecordSaysSo(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		b := newBlocked()
		dying, _ := scheduler(t, c.SessionOn(t, client, session.WithTTL(time.Second), session.WithName("dying")), name, []cron.Job{b.job()})
		id := trigger(t, dying, "job")
		first := harness.Got(t, b.began)
		require.Equal(t, 1, first.Attempt())
		require.True(t, first.Manual())

		next := newBlocked()
		heir, _ := scheduler(t, c.Session(t, session.WithName("heir")), name, []cron.Job{next.job()})
		faults.Cut() // for good, as far as the others can see
		faults.Break()
		second := harness.Got(t, next.began)
		require.False(t, first.Valid(), "the first was told before the second began")
		require.Equal(t, first.ID(), second.ID())
		require.Equal(t, first.Tick(), second.Tick())
		require.Equal(t, 2, second.Attempt())
		require.Greater(t, second.Token(), first.Token())
		require.ErrorIs(t, harness.Got(t, b.ended), cron.ErrLost)

		require.False(t, guarded(t, c, first.Guard()))
		require.True(t, guarded(t, c, second.Guard()))

		next.let <- nil
		awaitIdle(t, heir, "job")
		r := record(t, heir, "job", id)
		require.Equal(t, cron.Done, r.Outcome)
		require.Equal(t, 2, r.Attempt)
		require.Equal(t, []string{"dying"}, r.From)
		require.Equal(t, "heir", r.Session)
		faults.Mend()
	})
}

// guarded writes under a guard and tells whether that was allowed.
func guarded(t *testing.T, c *harness.Cluster, guard []clientv3.Cmp) bool {
	t.Helper()
	resp, err := c.Client().Txn(harness.Context(t)).If(guard...).Then(clientv3.OpPut("/guarded", "")).Commit()
	require.NoError(t, err)
	return resp.Succeeded
}

func TestARunThatKillsEveryProcessIsGivenUpAsLost(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		s := c.Session(t)
		b := newBlocked()
		job := b.job()
		job.Attempts = 2
		sched, _ := scheduler(t, s, name, []cron.Job{job})
		id := trigger(t, sched, "job")
		for range 2 {
			run := harness.Got(t, b.began)
			epoch, err := s.Epoch(harness.Context(t))
			require.NoError(t, err)
			_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
			require.NoError(t, err)
			require.ErrorIs(t, harness.Got(t, b.ended), cron.ErrLost)
			require.False(t, run.Valid())
		}
		awaitIdle(t, sched, "job")
		r := record(t, sched, "job", id)
		require.Equal(t, cron.Lost, r.Outcome)
		require.Len(t, r.From, 2)
		require.Empty(t, b.began)
	})
}

func TestAProcessThatStopsGivesItsRunsBack(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		b, next := newBlocked(), newBlocked()
		first, stop := scheduler(t, c.Session(t), name, []cron.Job{b.job()})
		id := trigger(t, first, "job")
		harness.Got(t, b.began)
		second, _ := scheduler(t, c.Session(t, session.WithTTL(time.Minute)), name, []cron.Job{next.job()})
		stop()
		require.ErrorIs(t, harness.Got(t, b.ended), cron.ErrStopped)
		run := harness.Got(t, next.began) // long before a lease could run out
		require.Equal(t, id, run.ID())
		require.Equal(t, 2, run.Attempt())
		next.let <- nil
		awaitIdle(t, second, "job")
		require.Equal(t, cron.Done, record(t, second, "job", id).Outcome)
	})
}

func TestAProcessThatDrainsLetsItsRunsEnd(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s, name, b := c.Session(t), harness.Name(t), newBlocked()
		sched, err := cron.New(s, name, cron.WithDrain(harness.Patience))
		require.NoError(t, err)
		require.NoError(t, sched.Set(b.job()))
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- sched.Run(ctx) }()
		id := trigger(t, sched, "job")
		run := harness.Got(t, b.began)
		cancel()
		require.True(t, run.Valid())
		b.let <- nil
		require.NoError(t, harness.Got(t, ended))
		require.Equal(t, cron.Done, record(t, sched, "job", id).Outcome)
		require.False(t, run.Valid())
	})
}

func TestAFailedRunIsRecordedAndNotRepeated(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		b := newBlocked()
		sched, _ := scheduler(t, c.Session(t), harness.Name(t), []cron.Job{b.job()})
		id := trigger(t, sched, "job")
		harness.Got(t, b.began)
		b.let <- errors.New("no ink")
		awaitIdle(t, sched, "job")
		r := record(t, sched, "job", id)
		require.Equal(t, cron.Failed, r.Outcome)
		require.Equal(t, "no ink", r.Error)
		b.let <- nil
		other := trigger(t, sched, "job")
		require.Equal(t, other, harness.Got(t, b.began).ID())
	})
}

// The lock of a fast job is free before a slow replica tries: with a lock alone
// it runs again.
func TestAFastJobIsNotRunAgainByAProcessThatComesLater(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name, b := harness.Name(t), newBlocked()
		job := b.job()
		job.Schedule, job.History, job.Missed = cron.At(time.Now()), 1, cron.Last
		for range 10 {
			b.let <- nil
		}
		first, _ := scheduler(t, c.Session(t), name, []cron.Job{job})
		run := harness.Got(t, b.began)
		for trigger(t, first, "job"); len(c.Keys(t, "/tenure/cron/"+name+"/runs/")) > 1; { // its record is trimmed
		}
		harness.Got(t, b.began)
		awaitIdle(t, first, "job")
		late, _ := scheduler(t, c.Session(t), name, []cron.Job{job})
		second := trigger(t, late, "job") // both have looked at the job after that
		require.Equal(t, second, harness.Got(t, b.began).ID())
		awaitIdle(t, late, "job")
		require.Empty(t, b.began, "%v ran again", run.Tick())
	})
}

func TestAClaimWhoseAnswerWasLostRunsOnce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name, b := harness.Name(t), newBlocked()
		client, faults := c.Dial(t)
		sched, _ := scheduler(t, c.SessionOn(t, client), name, []cron.Job{b.job()})
		id := trigger(t, sched, "job")
		harness.Got(t, b.began)
		b.let <- nil
		awaitIdle(t, sched, "job")

		faults.OnCall(once(func(req any) bool { return harness.Creates(req, "/tenure/cron/"+name+"/live/job/") }))
		again := trigger(t, sched, "job")
		run := harness.Got(t, b.began)
		require.Equal(t, again, run.ID())
		require.Equal(t, 1, run.Attempt(), "its own claim was not taken for somebody else's")
		b.let <- nil
		awaitIdle(t, sched, "job")
		require.Empty(t, b.began)
		require.NotEqual(t, id, again)
		require.Empty(t, c.Keys(t, "/tenure/cron/"+name+"/live/job/"), "claims that are left")
	})
}

func TestAnEndWhoseAnswerWasLostIsRecordedOnce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name, b := harness.Name(t), newBlocked()
		client, faults := c.Dial(t)
		sched, _ := scheduler(t, c.SessionOn(t, client), name, []cron.Job{b.job()})
		id := trigger(t, sched, "job")
		harness.Got(t, b.began)
		faults.OnCall(once(func(req any) bool { return harness.Deletes(req, "/tenure/cron/"+name+"/live/job/") }))
		b.let <- nil
		awaitIdle(t, sched, "job")
		require.Equal(t, cron.Done, record(t, sched, "job", id).Outcome)
		b.let <- nil
		other := trigger(t, sched, "job")
		require.Equal(t, other, harness.Got(t, b.began).ID(), "the run was not repeated")
	})
}

func TestAClaimThatArrivesWhileItsProcessStopsIsGivenBack(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name, b := harness.Name(t), newBlocked()
		client, faults := c.Dial(t)
		s := c.SessionOn(t, client, session.WithTTL(time.Minute))
		sched, stop := scheduler(t, s, name, []cron.Job{b.job()})
		b.let <- nil
		trigger(t, sched, "job")
		harness.Got(t, b.began)
		awaitIdle(t, sched, "job")

		// The claim commits, its answer is lost, and nothing is answered until
		// the process has given up.
		reached := make(chan struct{}, 100)
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, "/tenure/cron/"+name+"/live/job") {
				_ = call()
				faults.Cut()
				reached <- struct{}{}
			}
			return harness.ErrDown
		})
		other, err := cron.New(c.Session(t), name)
		require.NoError(t, err)
		id := trigger(t, other, "job")
		harness.Got(t, reached)
		stop()
		require.Empty(t, b.began, "it was to stop")
		faults.Mend()

		heir := newBlocked()
		scheduler(t, c.Session(t), name, []cron.Job{heir.job()})
		require.Equal(t, id, harness.Got(t, heir.began).ID())
		heir.let <- nil
	})
}

func TestWhileARunGoesOnNoOtherProcessBeginsTheNext(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name, b := harness.Name(t), newBlocked()
		job := b.job()
		job.Schedule = oftenEnough(t)
		var last *cron.Scheduler
		for range 3 {
			last, _ = scheduler(t, c.Session(t), name, []cron.Job{job})
		}
		for range 2 {
			run := harness.Got(t, b.began)
			require.True(t, run.Valid())
			awaitDropped(t, last, run)
			require.Empty(t, b.began)
			b.let <- nil
		}
	})
}

// awaitDropped waits until a tick after a run was dropped because of it.
func awaitDropped(t *testing.T, c *cron.Scheduler, run *cron.Run) {
	t.Helper()
	for ctx := harness.Context(t); ; {
		records, err := c.History(ctx, run.Job())
		require.NoError(t, err)
		for _, r := range records {
			if r.Outcome == cron.DropBusy && r.Tick.After(run.Tick()) {
				return
			}
		}
	}
}

func TestALostLeaseEndsTheRunAndTheSchedulerGoesOn(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s, b := c.Session(t), newBlocked()
		sched, _ := scheduler(t, s, harness.Name(t), []cron.Job{b.job()})
		id := trigger(t, sched, "job")
		first := harness.Got(t, b.began)
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
		require.NoError(t, err)
		cause := harness.Got(t, b.ended)
		require.ErrorIs(t, cause, cron.ErrLost)
		require.ErrorIs(t, cause, session.ErrLost)
		second := harness.Got(t, b.began) // in the same process, under its next lease
		require.Equal(t, id, second.ID())
		require.Greater(t, second.Token(), first.Token())
		b.let <- nil
		awaitIdle(t, sched, "job")
		require.Equal(t, cron.Done, record(t, sched, "job", id).Outcome)
	})
}

func TestAProcessWhoseRunDoesNotReturnClaimsNothingForThatJob(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s, name := c.Session(t), harness.Name(t)
		began, release := make(chan *cron.Run, 10), make(chan struct{})
		deaf := cron.Job{Name: "deaf", Schedule: never(), Run: func(_ context.Context, r *cron.Run) error {
			began <- r
			<-release
			return nil
		}}
		b := newBlocked()
		sched, _ := scheduler(t, s, name, []cron.Job{deaf, b.job()})
		trigger(t, sched, "deaf")
		harness.Got(t, began)
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
		require.NoError(t, err)
		harness.Ended(t, epoch.Context())

		b.let <- nil
		trigger(t, sched, "job")
		harness.Got(t, b.began) // the scheduler goes on
		require.Empty(t, began, "it would run beside itself")
		close(release)
		require.Equal(t, 2, harness.Got(t, began).Attempt())
	})
}

func TestClosingTheSessionEndsRunsAndThenTheScheduler(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s, b := c.Session(t), newBlocked()
		sched, err := cron.New(s, harness.Name(t))
		require.NoError(t, err)
		require.NoError(t, sched.Set(b.job()))
		ended := make(chan error, 1)
		go func() { ended <- sched.Run(context.Background()) }()
		trigger(t, sched, "job")
		harness.Got(t, b.began)
		require.ErrorIs(t, sched.Run(context.Background()), cron.ErrRunning)
		require.NoError(t, s.Close(harness.Context(t)))
		require.ErrorIs(t, harness.Got(t, b.ended), session.ErrClosed)
		require.ErrorIs(t, harness.Got(t, ended), session.ErrClosed)
	})
}

func TestAPausedJobIsNotRunUnlessTriggered(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		b := newBlocked()
		job := b.job()
		job.Schedule, job.Overlap = oftenEnough(t), cron.Queue
		sched, _ := scheduler(t, c.Session(t, session.WithName("boss")), harness.Name(t), []cron.Job{job})
		harness.Got(t, b.began)
		require.NoError(t, sched.Pause(harness.Context(t), "job", "holidays"))
		require.NoError(t, sched.Pause(harness.Context(t), "job", "again"))
		go func() { // whatever was in the queue
			for range 50 {
				b.let <- nil
			}
		}()
		awaitIdle(t, sched, "job")
		status := statusOf(t, sched, "job")
		require.Equal(t, "holidays", status.Paused.Reason)
		require.Equal(t, "boss", status.Paused.By)
		for len(b.began) > 0 {
			<-b.began
		}
		id := trigger(t, sched, "job")
		require.Equal(t, id, harness.Got(t, b.began).ID(), "and no tick before it")
		awaitIdle(t, sched, "job")
		require.NoError(t, sched.Resume(harness.Context(t), "job"))
		run := harness.Got(t, b.began)
		require.False(t, run.Manual())
		require.True(t, run.Tick().After(status.Paused.Since), "what was due meanwhile was not wanted")
	})
}

func TestTheHistoryOfAJobIsBounded(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name, b := harness.Name(t), newBlocked()
		job := b.job()
		job.History = 3
		sched, _ := scheduler(t, c.Session(t), name, []cron.Job{job})
		var last string
		for range 10 {
			b.let <- nil
			last = trigger(t, sched, "job")
			harness.Got(t, b.began)
		}
		awaitIdle(t, sched, "job")
		require.Len(t, c.Keys(t, "/tenure/cron/"+name+"/runs/"), 3)
		require.Len(t, c.Keys(t, "/tenure/cron/"+name+"/live/"), 1)
		records, err := sched.History(harness.Context(t), "job")
		require.NoError(t, err)
		require.Equal(t, last, records[0].ID, "the latest first")
		require.NoError(t, sched.Set())
		require.NoError(t, sched.Forget(harness.Context(t), "job"))
		require.Empty(t, c.Keys(t, "/tenure/cron/"+name+"/"))
		require.ErrorIs(t, sched.Pause(harness.Context(t), "job", ""), cron.ErrUnknownJob)
	})
}

func TestJobsAreReplacedWhileTheSchedulerRuns(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		before, after := newBlocked(), newBlocked()
		sched, _ := scheduler(t, c.Session(t), harness.Name(t), []cron.Job{before.job()})
		trigger(t, sched, "job")
		harness.Got(t, before.began)
		require.NoError(t, sched.Set(after.job()))
		require.ErrorIs(t, sched.Set(after.job(), after.job()), cron.ErrConfig, "two of one name")
		require.Equal(t, []string{"job"}, sched.Jobs())
		before.let <- nil // it goes on to its end
		trigger(t, sched, "job")
		harness.Got(t, after.began)
		require.Empty(t, before.ended)
		after.let <- nil
	})
}

func TestTooManyTriggersAreRefused(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		b := newBlocked()
		sched, _ := scheduler(t, c.Session(t), harness.Name(t), []cron.Job{b.job()})
		trigger(t, sched, "job")
		harness.Got(t, b.began)
		for range cron.MaxWaiting {
			_, err := sched.Trigger(harness.Context(t), "job")
			require.NoError(t, err)
		}
		_, err := sched.Trigger(harness.Context(t), "job")
		require.ErrorIs(t, err, cron.ErrBusy)
	})
}

func TestASchedulerThatCannotWorkIsRefusedAtOnce(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s := c.Session(t)
		for _, make := range []func() (*cron.Scheduler, error){
			func() (*cron.Scheduler, error) { return cron.New(nil, "any") },
			func() (*cron.Scheduler, error) { return cron.New(s, "") },
			func() (*cron.Scheduler, error) { return cron.New(s, "any", cron.WithDrain(-1)) },
			func() (*cron.Scheduler, error) { return cron.New(s, "any", cron.WithLogger(nil)) },
		} {
			_, err := make()
			require.ErrorIs(t, err, cron.ErrConfig)
		}
		sched, err := cron.New(s, "a/b")
		require.NoError(t, err)
		require.ErrorIs(t, sched.Set(cron.Job{Name: "job"}), cron.ErrConfig)
		_, err = sched.Trigger(harness.Context(t), "")
		require.ErrorIs(t, err, cron.ErrConfig)
		_, err = sched.Trigger(harness.Context(t), "unknown")
		require.ErrorIs(t, err, cron.ErrUnknownJob)
	})
}
