package leaderworker

import (
	"math/rand/v2"
	"time"
)

// Between two calls of a Work that fails.
const (
	minRetry = 100 * time.Millisecond
	maxRetry = 10 * time.Second
)

// work calls Work for a shard, again and again if it fails, and returns when it
// has returned and the shard is to be given up.
func (w *worker) work(h *hold) {
	defer w.returned(h)
	// A session that is being closed waits for work that it knows of. If it did
	// not know of this one, the shard is lost by now, and nothing begins.
	done := h.epoch.Work()
	defer done()
	for failures := 0; h.work.Err() == nil; {
		began := time.Now()
		err := w.cfg.Work(h.work, h.handle())
		switch {
		case h.work.Err() != nil:
			return
		case err == nil:
			<-h.work.Done()
			return
		}
		if time.Since(began) > maxRetry {
			failures = 0
		}
		w.retry(h, err, failures)
		failures++
	}
}

// retry waits before Work is called again.
func (w *worker) retry(h *hold, err error, failures int) {
	d := min(maxRetry, minRetry<<min(failures, 10))
	d = d/2 + rand.N(d/2)
	w.cfg.Logger.Warn("the work on a shard failed", "shard", h.shard, "err", err, "retry", d)
	w.observe(func(o *Observer) {
		if o.Failed != nil {
			o.Failed(Failed{Shard: h.handle(), Err: err, Retry: d})
		}
	})
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.work.Done():
	}
}
