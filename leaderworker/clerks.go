package leaderworker

import (
	"context"
	"encoding/json"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/prefixwatch"
	"github.com/gotenure/tenure/session"
)

// Those who talk to etcd for the loop. What comes while a transaction is under
// way goes into the next one, so many shards take few.

// claimer claims what the desk orders, until ctx ends.
func (w *worker) claimer(ctx context.Context) {
	for next(ctx, w.claims.ready) {
		jobs := w.claims.take(maxOps)
		for len(jobs) > 0 {
			epoch := jobs[0].epoch
			var shards []string
			for len(jobs) > 0 && jobs[0].epoch == epoch {
				shards = append(shards, jobs[0].shard)
				jobs = jobs[1:]
			}
			results := w.owners.claim(epoch, shards)
			holds := make([]*hold, len(results))
			for i, r := range results {
				holds[i] = w.own(epoch, r)
			}
			w.tell(func() {
				for i, r := range results {
					w.claimed(r, holds[i])
				}
			})
		}
	}
}

// own makes the hold of a claim that was won, unless it is lost already.
func (w *worker) own(epoch *session.Epoch, r claimed) *hold {
	if r.over || r.taken {
		return nil
	}
	h, err := newHold(w.values, epoch, r.shard, w.pool.Key(keys.Owners, r.shard), r.revision, func(h *hold) {
		w.tell(func() { w.carryOut(w.desk.Lost(h.shard, h.revision)) })
	})
	if err != nil {
		return nil // the epoch is over, and the key goes with it
	}
	return h
}

// claimed tells the desk what became of a claim.
func (w *worker) claimed(r claimed, h *hold) {
	switch {
	case r.taken:
		w.carryOut(w.desk.Taken(r.shard))
		return
	case h == nil:
		w.carryOut(w.desk.Failed(r.shard))
		return
	}
	w.holds[r.shard] = h
	orders := w.desk.Claimed(r.shard, r.revision)
	if h.started = orders[0].do == doStart; h.started {
		w.observe(func(o *Observer) {
			if o.Claimed != nil {
				o.Claimed(h.handle())
			}
		})
	}
	w.carryOut(orders)
}

// releaser gives up what the desk orders, until ctx ends.
func (w *worker) releaser(ctx context.Context) {
	for next(ctx, w.frees.ready) {
		holds := w.frees.take(maxOps)
		byEpoch := make(map[*session.Epoch][]*hold)
		for _, h := range holds {
			// One that is lost in this very moment goes, or went, without us.
			if h.epoch.Untrack(h.tracked) {
				h.end(ErrReleased)
				byEpoch[h.epoch] = append(byEpoch[h.epoch], h)
			}
		}
		for epoch, held := range byEpoch {
			w.owners.release(epoch, held)
		}
		w.tell(func() {
			for _, h := range holds {
				w.released(h)
			}
		})
	}
}

func next(ctx context.Context, ready <-chan struct{}) bool {
	select {
	case <-ready:
		return true
	case <-ctx.Done():
		return false
	}
}

// follow tells the loop what the worker is to own, until ctx ends.
func (w *worker) follow(ctx context.Context) {
	watch := prefixwatch.Open(ctx, w.cfg.Session.Client(), prefixwatch.Config{Key: w.pool.Key(keys.Assigned, w.cfg.Worker)})
	defer watch.Close()
	for {
		update, err := watch.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.fail(err)
			return
		case len(update.Events) == 0:
			continue
		}
		last := update.Events[len(update.Events)-1]
		var record assignedRecord
		if last.Type != clientv3.EventTypeDelete {
			if err := json.Unmarshal(last.Kv.Value, &record); err != nil {
				w.cfg.Logger.Warn("the assignment cannot be read, so what was assigned stays", "key", string(last.Kv.Key), "err", err)
				continue
			}
		}
		set := make(map[string]bool, len(record.Shards))
		for _, shard := range record.Shards {
			if shard != "" && len(shard) <= MaxShardName {
				set[shard] = true
			}
		}
		w.assign(set)
	}
}

// errEnded is the cause of the contexts of a Run that is over.
var errEnded = errors.New("leaderworker: Run has returned")
