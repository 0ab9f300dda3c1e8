package prefixwatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	// DefaultProbe is how long silence is believed.
	DefaultProbe = 10 * time.Second

	openTimeout = 2 * time.Second // for etcd to say that a watch exists
	suspicion   = time.Second     // for events that a probe has seen to arrive
	minBackoff  = 20 * time.Millisecond
	maxBackoff  = time.Second

	// streams bounds how many gRPC streams the watches of one client share.
	streams = 4
)

// ErrClosed is returned by Next after Close.
var ErrClosed = errors.New("prefixwatch: closed")

// Config says what to watch. The zero value but for Key watches one key.
type Config struct {
	Key      string
	Prefix   bool          // everything below Key
	End      string        // everything from Key to before End, if it is set
	KeysOnly bool          // snapshots come without values
	NoPuts   bool          // after a snapshot only deletions are reported
	From     int64         // snapshots are taken at this revision or later
	Since    int64         // the first snapshot is that of this revision, if etcd still has it
	Probe    time.Duration // how long silence is believed; DefaultProbe if 0
}

// An Update leads from the state last reported to that at Revision.
type Update struct {
	Revision int64
	// Reset is set on the first update and after a compaction: the events are
	// the difference to the state last reported, and what came and went in
	// between is not known. Deletions among them have the revision of the
	// snapshot and no create revision.
	Reset  bool
	Events []*clientv3.Event // in revision order, never a part of a revision
}

// A Watch reports a snapshot and then every change behind it. One goroutine at
// a time may use it.
type Watch struct {
	client *clientv3.Client
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc

	ch         clientv3.WatchChan
	stop       context.CancelFunc // of ch
	view       *view
	rev        int64 // everything up to here was reported; 0: nothing yet
	lost       bool  // events behind rev are compacted: a snapshot must follow
	stream     int   // which of the client's streams to use
	failures   int   // attempts to open since the last that succeeded
	suspect    bool  // a probe has seen what the watch has not told
	confirmed  atomic.Pointer[time.Time]
	probeTimer *time.Timer
}

// Open prepares a watch that lives until ctx ends or Close is called. The
// first call of Next creates it in etcd.
func Open(ctx context.Context, client *clientv3.Client, cfg Config) *Watch {
	if cfg.Probe <= 0 {
		cfg.Probe = DefaultProbe
	}
	ctx, cancel := context.WithCancel(ctx)
	return &Watch{client: client, cfg: cfg, ctx: ctx, cancel: cancel, view: newView(cfg.NoPuts)}
}

// Close ends the watch. It does not block.
func (w *Watch) Close() {
	w.cancel()
	if w.probeTimer != nil {
		w.probeTimer.Stop()
	}
}

// Confirmed is when the last update was known to be all there is: the age of
// the reader's knowledge. It is the zero time before the first update. Unlike
// the other methods it may be called while Next waits, by anybody.
func (w *Watch) Confirmed() time.Time {
	if at := w.confirmed.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Next waits for the next update. It returns an error when ctx or the watch
// has ended, or when etcd refuses the watch for good; everything else is
// retried. After an error of ctx it can be called again and nothing is lost.
func (w *Watch) Next(ctx context.Context) (Update, error) {
	for {
		if err := w.ended(ctx); err != nil {
			return Update{}, err
		}
		if w.ch == nil {
			update, ok, err := w.open(ctx)
			if err != nil || ok {
				return update, err
			}
			continue
		}
		w.arm()
		select {
		case resp, ok := <-w.ch:
			update, ok, err := w.receive(ctx, resp, ok)
			if err != nil || ok {
				return update, err
			}
		case <-w.probeTimer.C:
			w.probe(ctx)
		case <-ctx.Done():
		case <-w.ctx.Done():
		}
	}
}

func (w *Watch) ended(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case w.ctx.Err() != nil:
		return ErrClosed
	}
	return nil
}

// open creates the watch in etcd and, unless it resumes, reads the state.
func (w *Watch) open(ctx context.Context) (Update, bool, error) {
	if w.rev == 0 && w.cfg.Since > 0 {
		return w.past(ctx)
	}
	created, err := w.create(ctx)
	if err != nil {
		return Update{}, false, w.failed(ctx, err)
	}
	w.failures = 0
	if w.rev > 0 && !w.lost {
		return Update{}, false, nil // it resumes at w.rev + 1
	}
	update, err := w.snapshot(ctx, created)
	if err != nil {
		w.drop()
		return Update{}, false, w.failed(ctx, err)
	}
	return update, true, nil
}

// past reads the state at the revision that is to be followed from. If etcd has
// forgotten it, or never had it, the first snapshot is that of the present.
func (w *Watch) past(ctx context.Context) (Update, bool, error) {
	since := w.cfg.Since
	resp, err := get(ctx, w.client, w.cfg.Key, append(w.readOptions(w.cfg.KeysOnly), clientv3.WithRev(since)))
	switch {
	case errors.Is(err, rpctypes.ErrCompacted), errors.Is(err, rpctypes.ErrFutureRev):
		w.cfg.Since = 0
		return Update{}, false, nil
	case err != nil:
		return Update{}, false, w.failed(ctx, err)
	}
	w.failures = 0
	w.rev = since
	w.confirm()
	return Update{Revision: since, Reset: true, Events: w.view.replace(resp.Kvs, since)}, true, nil
}

// create opens the etcd watch and returns the revision it was created at.
func (w *Watch) create(ctx context.Context) (int64, error) {
	life, stop := context.WithCancel(w.streamContext())
	// Both the client's Watch and the wait for its first answer block for as
	// long as the connection is silent.
	timeout := time.AfterFunc(openTimeout, stop)
	unhook := context.AfterFunc(ctx, stop)

	opts := []clientv3.OpOption{clientv3.WithCreatedNotify(), clientv3.WithProgressNotify()}
	opts = append(opts, w.span()...)
	if w.cfg.NoPuts {
		opts = append(opts, clientv3.WithFilterPut())
	}
	if w.rev > 0 && !w.lost {
		opts = append(opts, clientv3.WithRev(w.rev+1))
	}
	ch := w.client.Watch(life, w.cfg.Key, opts...)
	resp, ok := <-ch
	inTime := timeout.Stop() && unhook()
	switch {
	case ok && resp.Err() != nil:
		stop()
		return 0, resp.Err()
	case !ok || !resp.Created || !inTime:
		stop()
		return 0, fmt.Errorf("etcd did not create a watch on %q", w.cfg.Key)
	}
	w.ch, w.stop = ch, stop
	return resp.Header.Revision, nil
}

// streamContext chooses the gRPC stream: the client keeps one for each set of
// outgoing metadata, and a stream stays on one connection.
func (w *Watch) streamContext() context.Context {
	ctx := clientv3.WithRequireLeader(w.ctx)
	if n := w.stream % streams; n > 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, "tenure-watch-stream", strconv.Itoa(n))
	}
	return ctx
}

// snapshot reads the state at revision rev or later.
func (w *Watch) snapshot(ctx context.Context, rev int64) (Update, error) {
	resp, err := ReadAtLeast(ctx, w.client, max(rev, w.rev, w.cfg.From), w.cfg.Key, w.readOptions(w.cfg.KeysOnly)...)
	if err != nil {
		return Update{}, err
	}
	w.lost = false
	w.rev = resp.Header.Revision
	w.confirm()
	return Update{Revision: w.rev, Reset: true, Events: w.view.replace(resp.Kvs, w.rev)}, nil
}

// span is which keys are watched.
func (w *Watch) span() []clientv3.OpOption {
	switch {
	case w.cfg.Prefix:
		return []clientv3.OpOption{clientv3.WithPrefix()}
	case w.cfg.End != "":
		return []clientv3.OpOption{clientv3.WithRange(w.cfg.End)}
	}
	return nil
}

func (w *Watch) readOptions(keysOnly bool) []clientv3.OpOption {
	opts := w.span()
	if keysOnly {
		opts = append(opts, clientv3.WithKeysOnly())
	}
	return opts
}

// receive takes one answer of the watch in.
func (w *Watch) receive(ctx context.Context, resp clientv3.WatchResponse, ok bool) (Update, bool, error) {
	if !ok {
		w.drop()
		return Update{}, false, w.failed(ctx, fmt.Errorf("the watch on %q ended", w.cfg.Key))
	}
	if err := resp.Err(); err != nil {
		w.drop()
		if resp.CompactRevision > 0 {
			w.lost = true
			return Update{}, false, nil
		}
		return Update{}, false, w.failed(ctx, err)
	}
	fresh := resp.Events[:0:0]
	for _, ev := range resp.Events {
		if ev.Kv.ModRevision > w.rev { // else the snapshot has it already
			fresh = append(fresh, ev)
			w.view.apply(ev)
		}
	}
	w.confirm()
	if len(fresh) == 0 {
		if resp.IsProgressNotify() {
			w.rev = max(w.rev, resp.Header.Revision)
		}
		return Update{}, false, nil
	}
	w.rev = fresh[len(fresh)-1].Kv.ModRevision
	return Update{Revision: w.rev, Events: fresh}, true, nil
}

// probe asks etcd whether the silence is true. The watch may just be slow, so
// it gets a little more time before it is replaced.
func (w *Watch) probe(ctx context.Context) {
	resp, err := get(ctx, w.client, w.cfg.Key, w.readOptions(true))
	switch {
	case err != nil: // unreachable: the next probe asks another member
	case !w.view.behind(resp.Kvs):
		w.confirm()
	case !w.suspect:
		w.suspect = true
	default:
		w.suspect = false
		w.stream++
		w.drop()
	}
}

// failed waits a little after a failure and tells whether it is final.
func (w *Watch) failed(ctx context.Context, err error) error {
	if ended := w.ended(ctx); ended != nil {
		return ended
	}
	if code := status.Code(err); code == codes.PermissionDenied || errors.Is(err, rpctypes.ErrPermissionDenied) {
		return fmt.Errorf("prefixwatch: %q: %w", w.cfg.Key, err)
	}
	w.failures++
	w.stream++
	backoff := min(maxBackoff, minBackoff<<min(w.failures, 10))
	timer := time.NewTimer(backoff/2 + rand.N(backoff/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-w.ctx.Done():
	}
	return w.ended(ctx)
}

func (w *Watch) drop() {
	w.stop()
	w.ch = nil
}

func (w *Watch) confirm() {
	w.suspect = false
	now := time.Now()
	w.confirmed.Store(&now)
}

// arm starts the probe's timer anew. Many processes follow the same keys, so
// they do not probe in step.
func (w *Watch) arm() {
	d := suspicion
	if !w.suspect {
		d = w.cfg.Probe/2 + rand.N(w.cfg.Probe/2+1)
	}
	if w.probeTimer == nil {
		w.probeTimer = time.NewTimer(d)
		return
	}
	w.probeTimer.Reset(d)
}
