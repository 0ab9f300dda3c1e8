package history

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// An Observer records every change of the store from its first revision on. Its
// client has to be one that no fault reaches; then, in virtual time, a change
// is recorded at the instant at which it was committed.
type Observer struct {
	r      *Recorder
	client *clientv3.Client
	nameOf func(key string) string
	cancel context.CancelFunc
	done   chan struct{}

	live map[string]*mvccpb.KeyValue // owned by run

	mu    sync.Mutex
	seen  int64
	moved chan struct{} // closed and replaced when seen grows
}

// Observe starts an observer and returns when it watches: later it would miss
// nothing, but date what came before too late. It stops when ctx ends. nameOf
// gives the name of the lock that a key queues for, or "": see Under. Close it
// before its client.
func Observe(
	ctx context.Context, client *clientv3.Client, r *Recorder, nameOf func(key string) string,
) (*Observer, error) {
	ctx, cancel := context.WithCancel(ctx)
	o := &Observer{
		r:      r,
		client: client,
		nameOf: nameOf,
		cancel: cancel,
		done:   make(chan struct{}),
		live:   make(map[string]*mvccpb.KeyValue),
		seen:   1, // the revision of an empty store
		moved:  make(chan struct{}),
	}
	watching := make(chan struct{})
	go o.run(ctx, sync.OnceFunc(func() { close(watching) }))
	select {
	case <-watching:
		return o, nil
	case <-o.done:
		return nil, errors.New("history: the observer could not watch")
	}
}

// Under is a nameOf for keys of the form <prefix><name>/<lease>. The name may
// contain slashes.
func Under(prefix string) func(key string) string {
	return func(key string) string {
		rest, ok := strings.CutPrefix(key, prefix)
		slash := strings.LastIndexByte(rest, '/')
		if !ok || slash < 0 {
			return ""
		}
		return rest[:slash]
	}
}

// WaitFor returns when the observer has recorded everything up to revision.
func (o *Observer) WaitFor(ctx context.Context, revision int64) error {
	for {
		o.mu.Lock()
		seen, moved := o.seen, o.moved
		o.mu.Unlock()
		if seen >= revision {
			return nil
		}
		select {
		case <-moved:
		case <-o.done:
			return errors.New("history: the observer was closed")
		case <-ctx.Done():
			return fmt.Errorf("history: the observer is at revision %d: %w", seen, ctx.Err())
		}
	}
}

// Close stops the observer and waits for it.
func (o *Observer) Close() {
	o.cancel()
	<-o.done
}

func (o *Observer) run(ctx context.Context, watching func()) {
	defer close(o.done)
	for ctx.Err() == nil {
		if o.client.Ctx().Err() != nil {
			o.r.gap("the observer's client was closed at revision %d", o.seen)
			return
		}
		// All keys, and not only those of locks: then each revision has an
		// event, and WaitFor knows when it has seen one.
		watch := o.client.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(o.seen+1),
			clientv3.WithCreatedNotify())
		for answer := range watch {
			if answer.Created {
				watching()
			}
			if c := answer.CompactRevision; c > o.seen+1 {
				o.r.gap("the observer missed revisions %d to %d", o.seen+1, c-1)
				o.advance(c - 1)
			} else if err := answer.Err(); err != nil && ctx.Err() == nil {
				o.r.gap("the observer's watch broke after revision %d: %v", o.seen, err)
			}
			for _, event := range answer.Events {
				o.record(event)
			}
			if n := len(answer.Events); n > 0 {
				o.advance(answer.Events[n-1].Kv.ModRevision)
			}
		}
	}
}

func (o *Observer) record(event *clientv3.Event) {
	kv := event.Kv
	c := Change{
		Key:      string(kv.Key),
		Name:     o.nameOf(string(kv.Key)),
		Revision: kv.ModRevision,
	}
	if event.Type == clientv3.EventTypeDelete {
		c.Deleted = true
		// A DELETE does not say what it removed.
		if was := o.live[c.Key]; was != nil {
			c.Created, c.Lease = was.CreateRevision, was.Lease
		}
		delete(o.live, c.Key)
	} else {
		c.Created, c.Lease, c.Value = kv.CreateRevision, kv.Lease, string(kv.Value)
		o.live[c.Key] = kv
	}
	o.r.change(c)
}

func (o *Observer) advance(revision int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = revision
	close(o.moved)
	o.moved = make(chan struct{})
}
