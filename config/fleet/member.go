package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/session"
)

// An Option changes how an instance takes part.
type Option func(*options) error

type options struct {
	health func(context.Context) error
	every  time.Duration
}

// WithHealth has a function asked every so often, and after every change of the
// value, whether the instance is well: nil, or what is wrong, which the report
// then says. A call has as long as lies between two of them. A Rollout takes
// the change back when an instance that has it is not well.
func WithHealth(healthy func(context.Context) error, every time.Duration) Option {
	return func(o *options) error {
		o.health, o.every = healthy, every
		if healthy == nil || every <= 0 {
			return errors.New("a health function and an interval above 0 are needed")
		}
		return nil
	}
}

// A Member reports for one instance.
type Member struct {
	fleet   *Fleet
	session *session.Session
	opts    options
	of      instance

	stop  context.CancelFunc
	tasks sync.WaitGroup
	dirty chan struct{} // there may be something new to report; capacity 1

	mu       sync.Mutex
	health   *Health
	reported *reported // what is in etcd, as far as is known
}

// instance is a Value without its type.
type instance struct {
	config.Instance
	follow func(ctx context.Context, changed func()) // until ctx ends
	report func() Report
	check  func(draft []byte) error
}

type reported struct {
	key      string
	revision int64
}

// Join reports what the value applies and rejects, under the session's lease,
// and answers Plan, until Close. The instance's name and labels are those of
// config.WithInstance, or else the session's name. It costs a put for every
// change and one watch.
func Join[T any](s *session.Session, v *config.Value[T], opts ...Option) (*Member, error) {
	var o options
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, fmt.Errorf("fleet: %w", err)
		}
	}
	if s == nil || v == nil {
		return nil, errors.New("fleet: the session or the value is nil")
	}
	f, err := New(s.Client(), v.Namespace(), v.Name())
	if err != nil {
		return nil, err
	}
	who, ok := v.Instance()
	if !ok {
		who.Name = s.Name()
	}
	m := &Member{fleet: f, session: s, opts: o, dirty: make(chan struct{}, 1), of: instance{
		Instance: who,
		follow: func(ctx context.Context, changed func()) {
			for range v.Snapshots(ctx) {
				changed()
			}
		},
		report: func() Report { return reportOf(who, v.Snapshot()) },
		check:  v.Check,
	}}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	asked := make(chan struct{}, 1) // to look at the health at once
	m.tasks.Go(func() {
		m.of.follow(ctx, func() {
			signal(m.dirty)
			signal(asked)
		})
	})
	if o.health != nil {
		m.tasks.Go(func() { m.watchHealth(ctx, asked) })
	}
	m.tasks.Go(func() { m.run(ctx) })
	m.tasks.Go(func() { m.answer(ctx) })
	return m, nil
}

func reportOf[T any](who config.Instance, s config.Snapshot[T]) Report {
	return Report{
		Name: who.Name, Labels: who.Labels, Revision: s.Revision, Seen: s.Seen, Staged: s.Staged,
		Current: s.Current, Fallback: s.Source == config.FromFallback, Rejected: newRejection(s.Rejected),
	}
}

// Close ends the reports and removes the last one. If that cannot be done before
// ctx ends, it returns an error and the report goes with the session's lease.
func (m *Member) Close(ctx context.Context) error {
	m.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.tasks.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("fleet: close: the health function has not returned: %w", context.Cause(ctx))
	}
	m.mu.Lock()
	last := m.reported
	m.mu.Unlock()
	if last == nil {
		return nil
	}
	err := retry(ctx, func(ctx context.Context) error {
		// The key has the lease in its name, so it is nobody else's.
		_, err := m.session.Client().Delete(ctx, last.key)
		return err
	})
	if err != nil {
		return fmt.Errorf("fleet: close: the report is left to the lease: %w", err)
	}
	return nil
}

// run reports under one epoch after the other.
func (m *Member) run(ctx context.Context) {
	for ctx.Err() == nil { // Epoch returns one that it has whatever ctx says
		epoch, err := m.session.Epoch(ctx)
		if err != nil {
			return // closed, either of them
		}
		m.runEpoch(ctx, epoch)
	}
}

func (m *Member) runEpoch(ctx context.Context, epoch *session.Epoch) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(epoch.Context(), cancel)()
	key := keys.Member(m.fleet.instances(), epoch.Lease())
	m.mu.Lock()
	m.reported = &reported{key: key}
	m.mu.Unlock()
	written := ""
	for failures := 0; ; {
		text := m.text()
		if text != written {
			if err := m.write(ctx, epoch, text); err != nil {
				epoch.Report(err)
				failures++
				pause(ctx, failures)
				if ctx.Err() != nil {
					return
				}
				continue
			}
			written, failures = text, 0
		}
		select {
		case <-m.dirty:
		case <-ctx.Done():
			return
		}
	}
}

func (m *Member) text() string {
	r := m.of.report()
	r.AsksHealth = m.opts.health != nil
	m.mu.Lock()
	r.Health = m.health
	m.mu.Unlock()
	text, err := json.Marshal(r)
	if err != nil {
		panic("fleet: encode a report: " + err.Error()) // strings and numbers
	}
	return string(text)
}

// write is one attempt. It compares the revision of the report before, because
// an attempt that was not answered may arrive after a later one.
func (m *Member) write(ctx context.Context, epoch *session.Epoch, text string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m.mu.Lock()
	last := *m.reported
	m.mu.Unlock()
	resp, err := m.session.Client().Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(last.key), "=", last.revision)).
		Then(clientv3.OpPut(last.key, text, clientv3.WithLease(epoch.Lease()))).
		Else(clientv3.OpGet(last.key, clientv3.WithKeysOnly())).
		Commit()
	if err != nil {
		return err
	}
	last.revision = resp.Header.Revision
	if !resp.Succeeded {
		last.revision = 0
		if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) == 1 {
			last.revision = kvs[0].ModRevision
		}
	}
	m.mu.Lock()
	m.reported = &last
	m.mu.Unlock()
	if !resp.Succeeded {
		return errors.New("another report was there")
	}
	return nil
}

// watchHealth asks the health function.
func (m *Member) watchHealth(ctx context.Context, asked <-chan struct{}) {
	ticker := time.NewTicker(m.opts.every)
	defer ticker.Stop()
	for {
		at := m.of.report().Revision // before asking: it may change meanwhile
		attempt, cancel := context.WithTimeout(ctx, m.opts.every)
		err := m.opts.health(attempt)
		cancel()
		if ctx.Err() != nil {
			return
		}
		h := &Health{Revision: at}
		if err != nil {
			h.Problem = shortened(err.Error())
		}
		m.mu.Lock()
		m.health = h
		m.mu.Unlock()
		signal(m.dirty)
		select {
		case <-ticker.C:
		case <-asked:
		case <-ctx.Done():
			return
		}
	}
}

// retry makes attempts, each with a time limit of its own, until one succeeds or
// ctx ends.
func retry(ctx context.Context, do func(context.Context) error) error {
	for failures := 1; ; failures++ {
		attempt, cancel := context.WithTimeout(ctx, requestTimeout)
		err := do(attempt)
		cancel()
		if err == nil {
			return nil
		}
		pause(ctx, failures)
		if ctx.Err() != nil {
			return fmt.Errorf("%w (last attempt: %w)", context.Cause(ctx), err)
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits before the attempt that follows n failures.
func pause(ctx context.Context, n int) {
	d := min(time.Second, 20*time.Millisecond<<min(n, 8))
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
