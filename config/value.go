package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/prefixwatch"
)

const (
	// createTimeout bounds Watch when its context has no deadline.
	createTimeout = 30 * time.Second
	// refusedPause is between attempts to watch what etcd refuses to show.
	refusedPause = 5 * time.Second
)

// A Value follows a configuration. All methods are safe for concurrent use.
type Value[T any] struct {
	client   *clientv3.Client
	name     string
	opts     options
	place    place
	pipeline *pipeline[T]

	current atomic.Pointer[T]         // state's value, for Get
	state   atomic.Pointer[state[T]]  // never nil once Watch has returned
	watch   atomic.Pointer[watchment] // the watch in use

	life  context.Context // of everything that runs
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu      sync.Mutex // makes steps one at a time; guards what follows
	content content    // the newest that etcd told, valid or not
	closed  bool
}

// watchment is a watch that may be asked from anywhere how old its knowledge
// is.
type watchment = prefixwatch.Watch

// Watch reads the configuration with this name, and follows it until Close. It
// returns an error if there is no valid value: a *RejectedError for what etcd
// has, or that etcd did not answer; WithFallback helps against both. If nothing
// is in etcd, the value is what the other layers make it, unless Required was
// given.
//
// ctx bounds the start only; without a deadline Watch gives up after half a
// minute. The client stays the caller's and must outlive the Value. It costs
// one watch and one range, and then a keys-only range every ten seconds or so
// without a change.
func Watch[T any](ctx context.Context, client *clientv3.Client, name string, opts ...Option) (*Value[T], error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, fmt.Errorf("%w: the client is nil", ErrConfig)
	}
	base, err := o.space.Config(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	p := newPlace(base, o)
	pl, err := newPipeline[T](name, p, o)
	if err != nil {
		return nil, err
	}
	v := &Value[T]{client: client, name: name, opts: o, place: p, pipeline: pl}
	v.life, v.stop = context.WithCancel(context.Background())
	if err := v.start(ctx); err != nil {
		v.stop()
		return nil, err
	}
	return v, nil
}

// start finds the first value and begins to follow.
func (v *Value[T]) start(ctx context.Context) error {
	patience := v.opts.patience
	if _, bounded := ctx.Deadline(); !bounded && patience == 0 {
		patience = createTimeout
	}
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	watch := v.open(0)
	update, err := watch.Next(ctx)
	if err == nil {
		err = v.take(update, true)
	} else {
		err = fmt.Errorf("config: %q: etcd did not answer: %w", v.name, err)
	}
	answered := v.content.revision > 0 || update.Revision > 0
	if err != nil && v.opts.fallback != "" {
		if unread := v.fallBack(err); unread != nil {
			err = fmt.Errorf("%w; and no fallback: %w", err, unread)
		} else {
			err = nil
		}
	}
	if err != nil {
		watch.Close()
		return err
	}
	v.tasks.Go(func() { v.run(watch, !answered) })
	if v.opts.fallback != "" {
		v.tasks.Go(v.keepFallback)
	}
	return nil
}

// open prepares a watch whose first update is everything, at revision from or
// later.
func (v *Value[T]) open(from int64) *prefixwatch.Watch {
	cfg := prefixwatch.Config{Key: v.place.watch, Prefix: v.place.prefix, From: from}
	if v.opts.maxStaleness > 0 {
		cfg.Probe = min(prefixwatch.DefaultProbe, v.opts.maxStaleness/3)
	}
	watch := prefixwatch.Open(v.life, v.client, cfg)
	v.watch.Store(watch)
	return watch
}

// run follows etcd until Close.
func (v *Value[T]) run(watch *prefixwatch.Watch, first bool) {
	for {
		update, err := watch.Next(v.life)
		if err == nil {
			_ = v.take(update, first) // a rejection was told to whom it concerns
			first = false
			continue
		}
		watch.Close()
		if v.life.Err() != nil {
			return
		}
		// etcd refuses the watch for good, which an operator may change.
		v.opts.log.Warn("config: cannot watch", "name", v.name, "err", err)
		pause(v.life, refusedPause)
		watch, first = v.open(v.state.Load().seen), true
	}
}

// take goes through an update one revision after the other, so that a bad one
// does not hide the good one before it. The first update of a watch is
// everything there is. It returns why the newest content was rejected, if it
// was.
func (v *Value[T]) take(update prefixwatch.Update, first bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.content
	if first {
		c = content{revision: c.revision}
		if v.place.prefix && !v.place.showsHead() {
			// Without the head, nothing among the keys tells when the last
			// one was deleted.
			c.revision = max(c.revision, update.Revision)
		}
	}
	steps := byRevision(update.Events)
	if update.Reset {
		steps = [][]*clientv3.Event{update.Events} // what lay between is not known
	}
	var err error
	for _, events := range steps {
		c = c.with(v.place, events)
		seen := update.Revision
		if !update.Reset {
			seen = c.revision
		}
		err = v.step(c, seen)
	}
	return err
}

// step puts content through the pipeline: the only way by which a value gets
// into force. The caller holds the lock.
func (v *Value[T]) step(c content, seen int64) error {
	v.content = c
	before := v.state.Load()
	var known *loaded[T]
	if before != nil {
		known = before.loaded
	}
	l, err := v.pipeline.load(c, known)
	if err != nil {
		rejected := &RejectedError{Name: v.name, Revision: c.revision, Err: err}
		v.opts.log.Warn("config: rejected", "name", v.name, "revision", c.revision, "err", err)
		if v.opts.observer.Rejected != nil {
			v.opts.observer.Rejected(rejected)
		}
		if before != nil {
			next := *before
			next.seen, next.rejected, next.current = max(seen, before.seen), rejected, false
			v.publish(&next)
		}
		return rejected
	}
	next := &state[T]{loaded: l, revision: c.revision, seen: seen, source: FromEtcd, applied: time.Now(), current: true}
	if before != nil {
		next.rejected = before.rejected
	}
	v.publish(next)
	if before == nil || before.revision != next.revision || before.source != next.source {
		v.opts.log.Info("config: applied", "name", v.name, "revision", c.revision, "staged", l.staged)
		if v.opts.observer.Applied != nil {
			v.opts.observer.Applied(c.revision)
		}
	}
	return nil
}

// publish puts a state into force and wakes everybody who follows: however many
// there are, nothing here waits for them.
func (v *Value[T]) publish(next *state[T]) {
	next.next = make(chan struct{})
	before := v.state.Load()
	v.current.Store(next.loaded.value)
	v.state.Store(next)
	if before != nil {
		close(before.next)
	}
}

// Name returns the configuration's name.
func (v *Value[T]) Name() string { return v.name }

// Namespace returns the key prefix under which it lives, see WithNamespace.
func (v *Value[T]) Namespace() string { return string(v.opts.space) }

// Instance returns who WithInstance said this process is, and whether it did.
func (v *Value[T]) Instance() (Instance, bool) {
	if v.opts.instance == nil {
		return Instance{}, false
	}
	return Instance{Name: v.opts.instance.Name, Labels: maps.Clone(v.opts.instance.Labels)}, true
}

// Get returns the value in force. It is one atomic load, allocates nothing and
// goes on to work after Close. The value is shared: it must not be changed.
func (v *Value[T]) Get() *T { return v.current.Load() }

// Fresh returns what Get does, or ErrStale if nothing was heard from etcd for
// longer than WithMaxStaleness allows. It does no I/O.
func (v *Value[T]) Fresh() (*T, error) {
	value := v.Get()
	if limit := v.opts.maxStaleness; limit > 0 {
		if age := v.Age(); age > limit {
			return nil, fmt.Errorf("%w: %q: nothing heard from etcd for %v", ErrStale, v.name, age.Round(time.Millisecond))
		}
	}
	return value, nil
}

// Reload puts the newest content through the layers again, with the file as it
// is now, and returns why it was rejected, if it was. It does not ask etcd.
func (v *Value[T]) Reload() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return ErrClosed
	}
	st := v.state.Load()
	if st.source == FromFallback && st.rejected == nil {
		return fmt.Errorf("config: %q: etcd has not answered yet", v.name)
	}
	return v.step(v.content, st.seen)
}

// Close ends the watch and returns when its goroutines and those of
// subscriptions have ended. If ctx ends first, it returns an error and can be
// called again. It leaves nothing in etcd.
func (v *Value[T]) Close(ctx context.Context) error {
	v.mu.Lock()
	v.closed = true // no task begins behind Wait
	v.mu.Unlock()
	v.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.tasks.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("config: close: a subscriber has not returned: %w", context.Cause(ctx))
	}
}

// begin starts a goroutine that Close waits for, unless it was called already.
func (v *Value[T]) begin(f func()) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return ErrClosed
	}
	v.tasks.Go(f)
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ended tells why a wait must end: the caller's context, or Close.
func (v *Value[T]) ended(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case v.life.Err() != nil:
		return ErrClosed
	}
	return nil
}

// rejection returns the rejection that an error is, if it is one.
func rejection(err error) *RejectedError {
	var rejected *RejectedError
	errors.As(err, &rejected)
	return rejected
}
