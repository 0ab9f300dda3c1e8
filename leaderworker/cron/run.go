package cron

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/session"
)

// MaxText bounds, in bytes, what a record keeps of a result and of an error.
const MaxText = 1024

// A Run is one attempt to run a job for one tick, in the process that has
// claimed it. It is safe for concurrent use.
type Run struct {
	job     *Job
	tick    time.Time
	id      string
	manual  bool
	attempt int
	claim   string // what tells this attempt from all others
	key     string
	token   int64
	epoch   *session.Epoch

	cancel  context.CancelCauseFunc
	tracked *session.Tracked
	lost    atomic.Bool // before the context is cancelled
	started time.Time

	mu     sync.Mutex
	result string
}

// Job returns the job's name.
func (r *Run) Job() string { return r.job.Name }

// Tick returns the instant that the run is for, or, of one that was triggered,
// when that was. It is the same in every attempt.
func (r *Run) Tick() time.Time { return r.tick }

// ID names the tick. It is the same in every attempt, so it can serve as a key
// against doing a thing twice.
func (r *Run) ID() string { return r.id }

// Manual tells whether the run was triggered by hand.
func (r *Run) Manual() bool { return r.manual }

// Attempt counts the processes that have begun the run, from 1.
func (r *Run) Attempt() int { return r.attempt }

// Token is the fencing token: each later attempt of the same tick, and each later
// tick of the same job, has a larger one. It is the create revision of the
// claim's key in etcd.
func (r *Run) Token() int64 { return r.token }

// Guard returns the comparison that holds while this attempt has the claim, for
// the If of a transaction.
func (r *Run) Guard() []clientv3.Cmp {
	return []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(r.key), "=", r.token)}
}

// Valid tells whether the claim is certainly still this attempt's. It does no
// I/O and is right in the first instruction after a suspend.
func (r *Run) Valid() bool { return !r.lost.Load() && r.epoch.Valid() }

// SetResult keeps a short text for the run's record; what is longer than
// MaxText is cut off. The last call counts.
func (r *Run) SetResult(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result = cut(text)
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

// begin prepares the attempt's context, which has the values of ctx and ends
// with the claim. It returns an error if the claim is lost already.
func (r *Run) begin(ctx context.Context) (context.Context, error) {
	ctx, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	r.tracked = &session.Tracked{Key: r.key, Revision: r.token, Lost: func(cause error) {
		r.lost.Store(true)
		r.cancel(fmt.Errorf("%w: %w", ErrLost, cause))
	}}
	if err := r.epoch.Track(r.tracked); err != nil {
		r.tracked = nil
		r.cancel(err)
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	}
	return ctx, nil
}

// call runs the job and says how the run is to end.
func (r *Run) call(ctx context.Context) finish {
	err := r.job.Run(ctx, r)
	f := finish{outcome: Done, duration: time.Since(r.started).Truncate(time.Microsecond)}
	r.mu.Lock()
	f.result = r.result
	r.mu.Unlock()
	switch {
	case err == nil:
	case errors.Is(context.Cause(ctx), ErrStopped):
		// It was interrupted, and has not failed: another process is to run it.
		return finish{}
	default:
		f.outcome, f.err = Failed, cut(err.Error())
	}
	return f
}

// end ends what begin began.
func (r *Run) end() {
	if r.tracked != nil {
		r.epoch.Untrack(r.tracked)
	}
	r.lost.Store(true)
	r.cancel(nil)
}
