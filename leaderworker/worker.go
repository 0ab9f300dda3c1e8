package leaderworker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/session"
)

// A worker carries out what its desk orders. One goroutine, in loop, has the
// desk; everybody else puts what has happened into the inbox.
type worker struct {
	cfg    Config
	pool   keys.Pool
	owners owners
	member *membership
	values context.Context // whose values Work's contexts have

	inbox  *line[func()]
	claims *line[claimJob]
	frees  *line[*hold]
	group  sync.WaitGroup // works and waits
	life   context.Context

	observing sync.Mutex

	// Of the loop.
	desk    *desk
	epoch   *session.Epoch // nil while the worker is no member
	holds   map[string]*hold
	waits   map[string]context.CancelFunc
	overdue []string
	leaving error // why; nil while it stays
	failure error // what Run returns
}

type claimJob struct {
	epoch *session.Epoch
	shard string
}

func newWorker(ctx context.Context, cfg Config, pool keys.Pool) *worker {
	w := &worker{
		cfg: cfg, pool: pool,
		owners: owners{pool: pool, worker: cfg.Worker},
		values: context.WithoutCancel(ctx),
		inbox:  newLine[func()](), claims: newLine[claimJob](), frees: newLine[*hold](),
		desk:  newDesk(),
		holds: make(map[string]*hold), waits: make(map[string]context.CancelFunc),
	}
	w.member = &membership{
		session: cfg.Session, pool: pool, worker: cfg.Worker, log: cfg.Logger,
		record: newMemberRecord(&cfg, random(8)), changed: make(chan struct{}, 1),
		joined: func(e *session.Epoch) {
			w.tell(func() {
				w.epoch = e
				w.carryOut(w.desk.Join())
			})
		},
		parted: func() {
			w.tell(func() {
				w.epoch = nil
				w.desk.Part()
			})
		},
	}
	return w
}

// tell puts what has happened into the inbox: f is called by the loop.
func (w *worker) tell(f func()) { w.inbox.put(f) }

// loop goes on until the worker is to leave and nothing is left of its shards.
func (w *worker) loop(ctx context.Context) {
	done := ctx.Done()
	for w.leaving == nil || !w.desk.Idle() {
		select {
		case <-w.inbox.ready:
			for _, f := range w.inbox.take(0) {
				f()
			}
		case <-done:
			done = nil
			w.leave(context.Cause(ctx))
		}
	}
}

// leave gives everything up. The leader is told first, so that others are ready
// when the shards are released.
func (w *worker) leave(cause error) {
	if w.leaving != nil {
		return
	}
	w.leaving = cause
	w.member.change(func(r *memberRecord) { r.Leaving = true })
	w.carryOut(w.desk.Assign(nil))
}

// fail makes Run leave and return an error.
func (w *worker) fail(err error) {
	w.tell(func() {
		if w.failure == nil {
			w.failure = err
		}
		w.leave(err)
	})
}

// assign is told what the worker is to own.
func (w *worker) assign(set map[string]bool) {
	w.tell(func() {
		if w.leaving == nil {
			w.carryOut(w.desk.Assign(set))
		}
	})
}

// carryOut starts what the desk orders. Nothing here waits.
func (w *worker) carryOut(orders []order) {
	for _, o := range orders {
		switch h := w.holds[o.shard]; o.do {
		case doClaim:
			w.claims.put(claimJob{w.epoch, o.shard})
		case doAwait:
			w.await(o.shard)
		case doForget:
			w.forget(o.shard)
		case doStart:
			w.group.Go(func() { w.work(h) })
		case doStop:
			w.stop(h)
		case doRelease:
			w.frees.put(h)
		case doReport:
			w.report(h)
		}
	}
}

// await waits for the end of the owner key that is in the way.
func (w *worker) await(shard string) {
	ctx, cancel := context.WithCancel(w.life)
	w.waits[shard] = cancel
	w.group.Go(func() {
		awaitGone(ctx, w.cfg.Session.Client(), w.pool.Key(keys.Owners, shard))
		if ctx.Err() == nil {
			w.tell(func() {
				if ctx.Err() == nil { // not forgotten meanwhile
					w.forget(shard)
					w.carryOut(w.desk.Gone(shard))
				}
			})
		}
	})
}

func (w *worker) forget(shard string) {
	w.waits[shard]()
	delete(w.waits, shard)
}

// stop tells Work to return, and has it looked after whether it does.
func (w *worker) stop(h *hold) {
	cause := w.leaving
	if cause == nil {
		cause = ErrRevoked
	}
	h.revoke(cause) // changes nothing if the shard was lost
	h.told = time.Now()
	h.late = time.AfterFunc(w.cfg.Drain, func() {
		w.tell(func() { w.carryOut(w.desk.Late(h.shard, h.revision)) })
	})
}

// report says that Work has not returned in time.
func (w *worker) report(h *hold) {
	w.cfg.Logger.Warn("the work on a shard does not return", "shard", h.shard, "since", h.told, "owned", h.Valid())
	w.observe(func(o *Observer) {
		if o.Overdue != nil {
			o.Overdue(Overdue{Shard: h.handle(), Since: h.told})
		}
	})
	w.tellOverdue()
}

// tellOverdue keeps what etcd says about this worker's Work that does not
// return.
func (w *worker) tellOverdue() {
	if now := w.desk.Overdue(); !slices.Equal(now, w.overdue) {
		w.overdue = now
		w.member.overdue(now)
	}
}

// returned is told by Work's goroutine.
func (w *worker) returned(h *hold) {
	w.tell(func() {
		if h.late != nil {
			h.late.Stop()
		}
		orders := w.desk.Returned(h.shard)
		if !slices.ContainsFunc(orders, func(o order) bool { return o.do == doRelease }) {
			w.gone(h)
		}
		w.carryOut(orders)
		w.tellOverdue()
	})
}

// released is told when the owner key is gone.
func (w *worker) released(h *hold) {
	w.gone(h)
	w.carryOut(w.desk.Released(h.shard))
}

// gone is the end of a hold.
func (w *worker) gone(h *hold) {
	delete(w.holds, h.shard)
	err := context.Cause(h.owned)
	if !h.wasLost() {
		err = nil
	}
	if h.started {
		w.observe(func(o *Observer) {
			if o.Released != nil {
				o.Released(Released{Shard: h.handle(), Held: time.Since(h.since), Err: err})
			}
		})
	}
}

// observe calls a function of the observer; one at a time.
func (w *worker) observe(f func(*Observer)) {
	w.observing.Lock()
	defer w.observing.Unlock()
	f(&w.cfg.Observer)
}
