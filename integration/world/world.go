package world

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Config describes a world. The zero value is usable.
type Config struct {
	// Seed fixes Rand and every RandFor. It fixes what is drawn from them, not
	// how goroutines interleave.
	Seed uint64
	// Client, if set, changes the configuration of the nodes' clients before
	// they are made; the dialer is put in afterwards.
	Client func(*clientv3.Config)
	// Logger, if set, gets what the server says. Nothing by default.
	Logger *zap.Logger
}

// A World is one etcd server, its clients and the network between them, all in
// virtual time. Its methods are safe for concurrent use unless they say
// otherwise. They must be called inside of the bubble, that is by the function
// given to Run and the goroutines that it starts.
type World struct {
	// Rand is seeded with Config.Seed. It belongs to the function given to Run:
	// it is not safe for concurrent use.
	Rand *rand.Rand

	t       *testing.T
	cfg     Config
	dir     string
	started time.Time
	ctx     context.Context
	cancel  context.CancelFunc
	tasks   sync.WaitGroup

	// turn is held by whoever crashes, restarts or compacts. It is a channel
	// because the holder waits in virtual time: time would stand still for ever
	// if somebody waited for a sync.Mutex meanwhile.
	turn   chan struct{}
	server atomic.Pointer[server] // nil while it is down
	doors  atomic.Bool            // whether it lets the nodes in
	direct *Node

	mu      sync.Mutex // guards what follows; never held while waiting
	nodes   map[string]*Node
	keepUps []func(context.Context, int64) error
	onLinks []func(node string, up bool)
}

// Run makes a world in a bubble of its own, calls f in it, and shuts it down
// when f has returned: it cancels Context, waits for what Go started, closes the
// clients and stops the server. It panics if goroutines that f started otherwise
// still wait then.
//
// Two worlds never exist at once in a process: Run waits for its turn.
func Run(t *testing.T, cfg Config, f func(t *testing.T, w *World)) {
	t.Helper()
	dir := dataDir(t)
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	inBubble(t, func(t *testing.T) {
		w := &World{
			Rand:  rand.New(rand.NewPCG(cfg.Seed, 0)),
			t:     t,
			cfg:   cfg,
			dir:   dir,
			turn:  make(chan struct{}, 1),
			nodes: make(map[string]*Node),
		}
		w.ctx, w.cancel = context.WithCancel(t.Context())
		defer w.close()
		s, err := boot(dir, true, cfg.Logger)
		if err != nil {
			t.Fatal(err)
		}
		w.server.Store(s)
		w.doors.Store(true)
		w.started = time.Now()
		w.direct = w.dial("direct", func(c net.Conn) bool { return w.server.Load().admit(c) })
		f(t, w)
	})
}

// dataDir is in memory where the system has a place for that.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tenure-world-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// close is the only order that ends: whoever uses a client, the clients, the
// connections, the server.
func (w *World) close() {
	w.cancel()
	w.tasks.Wait()
	for _, n := range w.everyNode() {
		n.Close()
	}
	if w.direct != nil {
		w.direct.Close()
	}
	w.CrashServer()
}

// Context ends when the function given to Run has returned or failed.
func (w *World) Context() context.Context { return w.ctx }

// Now is the time that has passed since the world was complete.
func (w *World) Now() time.Duration { return time.Since(w.started) }

// Go runs f in a goroutine that the world waits for before it shuts down. f
// has to return when Context ends.
func (w *World) Go(f func()) { w.tasks.Go(f) }

// RandFor returns a generator that depends on the seed and the name alone, so
// that each goroutine can have one of its own.
func (w *World) RandFor(name string) *rand.Rand { return randFor(w.cfg.Seed, name) }

func randFor(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// Direct is the observer's client: its link knows no faults, and after a
// restart it is connected before anybody else is let in.
func (w *World) Direct() *clientv3.Client { return w.direct.client }

// KeepUp has f called whenever an observer that lags would miss something, with
// the revision up to which it must have seen everything: before a compaction,
// and before a restarted server lets the nodes in. f waits until that is so.
func (w *World) KeepUp(f func(ctx context.Context, revision int64) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keepUps = append(w.keepUps, f)
}

// OnLink has f called when a node is dialled or mended, and when it is cut off
// or closed; with an empty name, when the server lets the nodes in again after
// an outage, and when it goes down.
func (w *World) OnLink(f func(node string, up bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onLinks = append(w.onLinks, f)
}

func (w *World) tellLink(node string, up bool) {
	w.mu.Lock()
	tell := w.onLinks
	w.mu.Unlock()
	for _, f := range tell {
		f(node, up)
	}
}
