package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gotenure/tenure/leaderworker/cron"
	"github.com/gotenure/tenure/leaderworker/queue"
	"github.com/gotenure/tenure/session"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Where the nodes leave what they have done, below the namespace.
const (
	evidencePrefix = "done/"
	ticksPrefix    = evidencePrefix + "ticks/"    // <job>/<tick>: written when a job was run
	acceptedPrefix = evidencePrefix + "accepted/" // <id>: a task that the queue has accepted
	donePrefix     = evidencePrefix + "tasks/"    // <id>: written when a task was done
	shardsPrefix   = evidencePrefix + "shards/"   // <shard>/<token>: written all the time by the owner of a shard
)

func tickKey(job string, tick time.Time) string {
	return fmt.Sprintf("%s%s/%d", ticksPrefix, job, tick.UnixMilli())
}

func doneKey(id string) string { return donePrefix + id }

func shardKey(shard string, token int64) string {
	return fmt.Sprintf("%s%s/%d", shardsPrefix, shard, token)
}

// evidence is what the nodes have left in etcd, and what the witness says.
type evidence struct {
	before, jobs map[string]jobSpec // the same unless the jobs were changed
	changed      change             // zero if they were not

	ran      map[string]map[int64]bool // by job, of ticks in milliseconds
	records  map[string][]cron.Record  // the scheduler's
	accepted map[string]string         // tasks' names by id
	done     map[string]bool
	dead     map[string]bool
	waiting  map[string]bool
	owned    []ownership

	begun, refused int
	wrong          []string
}

// gather reads everything back.
func (p *play) gather(ctx context.Context) (evidence, error) {
	e := evidence{
		ran: map[string]map[int64]bool{}, records: map[string][]cron.Record{}, accepted: map[string]string{},
		done: map[string]bool{}, dead: map[string]bool{}, waiting: map[string]bool{},
	}
	e.begun, e.wrong = p.witness.testimony()
	for _, n := range p.nodes {
		e.refused += p.witness.of(n.name)["refused"]
	}
	e.before, e.jobs, e.changed = p.before, p.jobs, p.changed
	if err := e.read(ctx, p.etcd); err != nil {
		return e, fmt.Errorf("read back what was done: %w", err)
	}
	return e, e.ask(ctx, p.etcd, p.cfg.ttl)
}

// read reads what the nodes have left.
func (e *evidence) read(ctx context.Context, etcd *store) error {
	resp, err := etcd.client.Get(ctx, etcd.namespace+evidencePrefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	for _, kv := range resp.Kvs {
		key := strings.TrimPrefix(string(kv.Key), etcd.namespace)
		if id, ok := strings.CutPrefix(key, acceptedPrefix); ok {
			e.accepted[id] = string(kv.Value)
			continue
		}
		if id, ok := strings.CutPrefix(key, donePrefix); ok {
			e.done[id] = true
			continue
		}
		i := strings.LastIndexByte(key, '/')
		number, err := strconv.ParseInt(key[i+1:], 10, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if job, ok := strings.CutPrefix(key[:i], ticksPrefix); ok {
			if e.ran[job] == nil {
				e.ran[job] = map[int64]bool{}
			}
			e.ran[job][number] = true
		}
		if shard, ok := strings.CutPrefix(key[:i], shardsPrefix); ok {
			e.owned = append(e.owned, ownership{shard, string(kv.Value), number, kv.CreateRevision, kv.ModRevision})
		}
	}
	return nil
}

// ask asks the scheduler and the queue, as an operator's tool would.
func (e *evidence) ask(ctx context.Context, etcd *store, ttl time.Duration) (err error) {
	s, err := session.New(ctx, etcd.client, session.WithName("auditor"), session.WithTTL(ttl), session.WithNamespace(etcd.namespace))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	c, err := cron.New(s, cronName)
	if err != nil {
		return err
	}
	for job := range e.jobs {
		records, err := c.History(ctx, job)
		if err != nil && !errors.Is(err, cron.ErrUnknownJob) {
			return err
		}
		e.records[job] = records
	}
	q, err := queue.New(s, queueName)
	if err != nil {
		return err
	}
	dead, err := q.DeadLetters(ctx)
	if err != nil {
		return err
	}
	for _, letter := range dead {
		e.dead[letter.ID] = true
	}
	for id := range e.accepted {
		if e.done[id] || e.dead[id] {
			continue
		}
		info, err := q.Lookup(ctx, id)
		switch {
		case errors.Is(err, queue.ErrNoTask):
		case err != nil:
			return err
		case info.State == queue.Waiting || info.State == queue.Delayed || info.State == queue.Claimed:
			e.waiting[id] = true
		}
	}
	return nil
}
