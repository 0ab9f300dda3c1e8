package leaderworker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/election"
	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/prefixwatch"
)

// Bounds of one of the leader's transactions, well inside of etcd's 128
// operations and 1.5 MiB.
const (
	maxOps   = 100
	maxBytes = 1 << 20
)

// idleness is how many times as long as a decision took the leader waits before
// the next one: every handoff of a large pool is an event, and few of them
// change anything.
const idleness = 5

// A leader decides who is to own what, for the time of one term.
type leader struct {
	client  *clientv3.Client
	pool    keys.Pool
	worker  string
	term    *election.Term
	planner *planner
	log     *slog.Logger
	planned func(Planned)

	sets chan []ShardSpec // from the source; capacity 1, the latest
	set  []ShardSpec      // nil until there is one
}

// errBehind says that something else was written than the leader knows of.
var errBehind = errors.New("the pool has changed meanwhile")

// lead runs until ctx ends, which is that of the term. It only ever returns an
// error that no repetition can mend.
func (l *leader) lead(ctx context.Context, source Source) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.follow(ctx, source)
	}()
	defer func() {
		cancel()
		<-done
	}()
	for failures := 0; ; failures++ {
		began := time.Now()
		err := l.watch(ctx)
		if ctx.Err() != nil || hopeless(err) {
			return err
		}
		if time.Since(began) > time.Minute {
			failures = 0
		}
		l.log.Debug("the leader looks again", "err", err)
		leasekey.Pause(ctx, failures)
	}
}

// follow keeps the set of shards up to date.
func (l *leader) follow(ctx context.Context, source Source) {
	set := func(shards []ShardSpec) error {
		shards, err := checked(shards)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
		select {
		case <-l.sets: // replaced by a later one
		default:
		}
		select {
		case l.sets <- shards:
		case <-ctx.Done():
		}
		return nil
	}
	for failures := 0; ; failures++ {
		err := source.run(ctx, set)
		if err == nil || ctx.Err() != nil {
			return
		}
		l.log.Warn("the source of the shards failed", "err", err)
		leasekey.Pause(ctx, failures)
	}
}

// watch follows the pool and writes what the planner decides. It returns when
// it no longer knows for certain how things are: when a write was not answered,
// or found something else than the watch had told.
func (l *leader) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	updates, ended := make(chan prefixwatch.Update), make(chan error, 1)
	go func() { ended <- l.pump(ctx, updates) }()
	joined := false
	defer func() {
		cancel()
		if !joined {
			<-ended
		}
	}()
	v := newView(l.pool)
	var written int64  // the revision of the last own write: the view must have it
	var rest time.Time // until then the decision before has cost enough
	timer := time.NewTimer(0)
	defer timer.Stop()
	for known := false; ; {
		select {
		case u := <-updates:
			for _, ev := range u.Events {
				v.apply(ev)
			}
			v.revision, known = u.Revision, true
		case l.set = <-l.sets:
		case <-timer.C:
		case err := <-ended:
			joined = true
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		now := time.Now()
		switch {
		case !known || l.set == nil || v.revision < written:
			continue
		case now.Before(rest):
			timer.Reset(rest.Sub(now))
			continue
		}
		d := l.planner.decide(v, l.set, now)
		rest = now.Add(idleness * time.Since(now))
		revision, err := l.write(ctx, v, d)
		if err != nil {
			return err
		}
		written = max(written, revision)
		if timer.Stop(); !d.wake.IsZero() {
			timer.Reset(time.Until(d.wake))
		}
	}
}

func (l *leader) pump(ctx context.Context, updates chan<- prefixwatch.Update) error {
	watch := prefixwatch.Open(ctx, l.client, prefixwatch.Config{Key: string(l.pool), Prefix: true, From: l.term.Token()})
	defer watch.Close()
	for {
		update, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		select {
		case updates <- update:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// write carries a decision out, and returns the revision of the last write, 0 if
// there was nothing to do. Each transaction commits only while this term lasts
// and everything that it replaces is as the leader knows it: one that arrives
// late replaces nothing.
func (l *leader) write(ctx context.Context, v *view, d decision) (revision int64, err error) {
	d.plan.Leader, d.plan.Term = l.worker, l.term.Token()
	for _, batch := range l.batches(v, d) {
		txn, cancel := leasekey.Begin(ctx, l.client)
		resp, err := txn.If(append(l.term.Guard(), batch.compare...)...).Then(batch.then...).Commit()
		cancel()
		switch {
		case err != nil:
			return 0, fmt.Errorf("write the assignment: %w", err)
		case !resp.Succeeded:
			return 0, errBehind
		}
		revision = resp.Header.Revision
	}
	if len(d.changes) > 0 {
		l.log.Info("shards assigned", "workers", len(d.changes), "moves", d.moves, "unplaced", len(d.plan.Unplaced)+d.plan.More)
		l.planned(Planned{Workers: len(d.changes), Moves: d.moves, Unplaced: len(d.plan.Unplaced) + d.plan.More})
	}
	return revision, nil
}

// A batch is what one transaction takes.
type batch struct {
	compare []clientv3.Cmp
	then    []clientv3.Op
	bytes   int
}

func (b *batch) replace(key string, mod int64, value string) {
	b.compare = append(b.compare, clientv3.Compare(clientv3.ModRevision(key), "=", mod))
	if value == "" {
		b.then = append(b.then, clientv3.OpDelete(key))
	} else {
		b.then = append(b.then, clientv3.OpPut(key, value))
	}
	b.bytes += 2*len(key) + len(value)
}

func (l *leader) batches(v *view, d decision) []*batch {
	var batches []*batch
	add := func(key string, mod int64, value string) {
		last := len(batches) - 1
		if last < 0 || len(batches[last].then) == maxOps || batches[last].bytes+len(value) > maxBytes {
			batches = append(batches, &batch{})
			last++
		}
		batches[last].replace(key, mod, value)
	}
	for _, c := range d.changes {
		value := ""
		if c.Term = d.plan.Term; len(c.Shards) > 0 {
			value = encode(c.assignedRecord)
		}
		add(l.pool.Key(keys.Assigned, c.worker), c.mod, value)
	}
	if plan := encode(d.plan); plan != encode(v.plan) {
		add(l.pool.Plan(), v.planMod, plan)
	}
	return batches
}
