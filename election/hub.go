package election

import (
	"context"
	"fmt"
	"slices"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/prefixwatch"
)

// What a hub remembers for its readers. One that is further behind is told of
// the gap; memory does not grow with slow readers, nor with their number.
const (
	maxBacklog      = 1024    // events
	maxBacklogBytes = 4 << 20 // of values
)

// hubs are those that have readers, in this process. All that observe one
// election through one client share a watch.
var hubs struct {
	mu  sync.Mutex
	all map[hubKey]*hub
}

type hubKey struct {
	client *clientv3.Client
	prefix string
}

// A hub follows an election for any number of readers. They read one log, each
// at its own place.
type hub struct {
	key     hubKey
	readers int // guarded by hubs.mu
	stop    context.CancelFunc
	stopped chan struct{}

	mu      sync.Mutex
	log     []entry // the last events, oldest first
	bytes   int     // of their values
	end     int64   // the number of the event that comes next; log ends there
	now     standing
	rev     int64
	err     error         // why there will be no more events
	begun   bool          // now is known
	changed chan struct{} // closed when anything of this changes
}

// join makes the caller a reader of the hub for a prefix; leave must follow.
func join(client *clientv3.Client, prefix string) *hub {
	hubs.mu.Lock()
	defer hubs.mu.Unlock()
	key := hubKey{client, prefix}
	h := hubs.all[key]
	if h == nil {
		if hubs.all == nil {
			hubs.all = make(map[hubKey]*hub)
		}
		// The client's context ends when it is closed: then there is nothing more
		// to be seen.
		ctx, stop := context.WithCancel(client.Ctx())
		h = &hub{key: key, stop: stop, stopped: make(chan struct{}), changed: make(chan struct{})}
		hubs.all[key] = h
		go h.run(ctx)
	}
	h.readers++
	return h
}

// leave ends what join began. The last one waits until the hub has ended.
func (h *hub) leave() {
	hubs.mu.Lock()
	h.readers--
	last := h.readers == 0
	if last && hubs.all[h.key] == h {
		delete(hubs.all, h.key)
	}
	hubs.mu.Unlock()
	if last {
		h.stop()
		<-h.stopped
	}
}

func (h *hub) run(ctx context.Context) {
	defer close(h.stopped)
	watch := prefixwatch.Open(ctx, h.key.client, prefixwatch.Config{Key: h.key.prefix, Prefix: true})
	defer watch.Close()
	var b board
	for {
		update, err := watch.Next(ctx)
		if err != nil {
			if ctx.Err() != nil { // with readers left, only for this reason
				err = fmt.Errorf("the etcd client was closed: %w", err)
			}
			h.fail(err)
			return
		}
		h.append(b.apply(update), b.now, b.rev)
	}
}

// append adds to the log, and forgets its oldest entries if it is too long.
func (h *hub) append(entries []entry, now standing, rev int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now, h.rev = now, rev
	if h.begun && len(entries) == 0 {
		return
	}
	h.begun = true
	for _, e := range entries {
		h.bytes += len(e.Value)
	}
	h.log = append(h.log, entries...)
	h.end += int64(len(entries))
	drop := 0
	for ; len(h.log)-drop > maxBacklog || h.bytes > maxBacklogBytes && len(h.log)-drop > 1; drop++ {
		h.bytes -= len(h.log[drop].Value)
	}
	h.log = slices.Delete(h.log, 0, drop)
	h.tell()
}

// fail ends the log. Whoever comes from now on gets another hub.
func (h *hub) fail(err error) {
	hubs.mu.Lock()
	if hubs.all[h.key] == h {
		delete(hubs.all, h.key)
	}
	hubs.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	h.tell()
}

// tell wakes the readers. It must be called with mu held.
func (h *hub) tell() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// A reader is one place in a hub's log.
type reader struct {
	hub     *hub
	begun   bool
	next    int64   // the number of the entry to read next
	seen    entry   // the last one that was read
	pending []entry // to be read before
}

// read waits for the reader's next event.
func (r *reader) read(ctx context.Context) (Event, error) {
	for {
		ok, changed, err := r.advance()
		if ok {
			return r.seen.Event, nil
		}
		if err != nil {
			return Event{}, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
}

// advance moves to the next entry, if there is one, and otherwise returns what
// to wait for.
func (r *reader) advance() (ok bool, changed <-chan struct{}, err error) {
	h := r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.end - int64(len(h.log))
	switch {
	case len(r.pending) > 0:
	case !r.begun && h.begun:
		r.begun, r.next = true, h.end
		r.pending = []entry{present(h.now, h.rev)}
	case r.begun && r.next < first:
		r.next = h.end
		r.pending = missed(r.seen.after, h.now, r.seen.Revision, h.rev)
	case r.begun && r.next < h.end:
		r.pending = []entry{h.log[r.next-first]}
		r.next++
	}
	if len(r.pending) == 0 {
		return false, h.changed, h.err
	}
	r.seen, r.pending = r.pending[0], r.pending[1:]
	return true, nil, nil
}

func (r *reader) close() { r.hub.leave() }
