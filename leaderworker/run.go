package leaderworker

import (
	"context"
	"fmt"
	"sync"

	"github.com/gotenure/tenure/election"
)

// Run makes this process a worker of the pool, until ctx ends. The workers of a
// pool elect one of them to lead; the leader assigns the shards, and Run calls
// Config.Work for those that this worker owns. Run can be called any number of
// times in a process, for different pools or for one.
//
// When ctx ends, the worker leaves: it says so, all its Work is told to stop,
// each shard is released when its Work has returned, and others take over. Run
// returns nil when nothing of it runs or is left in etcd. A Work that does not
// return keeps Run from returning, and its shard from being given away.
//
// A session that loses its lease loses all shards, and Work is told so in time;
// the worker joins again by itself with the session's next lease. Run returns an
// error that matches ErrConfig for a configuration that cannot work,
// session.ErrClosed when the session was closed, and another one only if etcd
// refuses something for good. Work has returned then, too.
//
// A worker costs a watch of its own assignment, a place in an election, and for
// each shard that it waits for a watch until the owner before has released it.
// Shards are claimed and released up to 100 in a transaction.
func Run(ctx context.Context, cfg Config) error {
	cfg, pool, err := cfg.check()
	if err != nil {
		return err
	}
	return newWorker(ctx, cfg, pool).run(ctx)
}

func (w *worker) run(ctx context.Context) error {
	life, end := context.WithCancelCause(w.values)
	leading, resign := context.WithCancelCause(w.values)
	w.life = life

	var clerks, staff sync.WaitGroup
	clerks.Go(func() { w.claimer(life) })
	clerks.Go(func() { w.releaser(life) })
	staff.Go(func() { w.follow(life) })
	staff.Go(func() {
		if err := w.member.keep(life); err != nil {
			w.fail(fmt.Errorf("leaderworker: %q: %w", w.cfg.Name, err))
		}
	})
	staff.Go(func() { w.stand(leading) })
	// A leader that leaves should not be the one that the others wait for.
	unhook := context.AfterFunc(ctx, func() { resign(context.Cause(ctx)) })
	defer unhook()

	w.loop(ctx)
	resign(errEnded)
	end(errEnded)
	w.group.Wait()
	clerks.Wait()
	staff.Wait()
	w.member.leave()
	return w.failure
}

// stand takes part in the election, and leads when elected, until ctx ends.
func (w *worker) stand(ctx context.Context) {
	e := election.New(w.cfg.Session, w.cfg.Name, election.AtKey(w.pool.Leader()), election.WithValue([]byte(w.cfg.Worker)))
	err := e.Run(ctx, func(ctx context.Context, term *election.Term) error {
		l := &leader{
			client: w.cfg.Session.Client(), pool: w.pool, worker: w.cfg.Worker, term: term,
			planner: newPlanner(w.cfg.MaxMoves, w.cfg.Grace),
			log:     w.cfg.Logger.With("term", term.Token()),
			sets:    make(chan []ShardSpec, 1),
			planned: func(p Planned) {
				w.observe(func(o *Observer) {
					if o.Planned != nil {
						o.Planned(p)
					}
				})
			},
		}
		return l.lead(ctx, w.cfg.Shards)
	})
	if ctx.Err() == nil {
		w.fail(fmt.Errorf("leaderworker: %q: %w", w.cfg.Name, err))
	}
}
