package conformance

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/leaderworker"
	"github.com/gotenure/tenure/session"
)

// A crew is the workers of one pool, and what they do at present.
type crew struct {
	t    *testing.T
	c    *harness.Cluster
	name string
	cfg  leaderworker.Config // what they have in common

	mu      sync.Mutex
	at      map[string]string // which worker works on which shard
	tokens  map[string]int64  // the largest token of each shard
	starts  int
	changed chan struct{} // closed and replaced when something changes
}

func newCrew(t *testing.T, c *harness.Cluster, shards leaderworker.Source) *crew {
	return &crew{
		t: t, c: c, name: harness.Name(t),
		cfg: leaderworker.Config{Shards: shards},
		at:  map[string]string{}, tokens: map[string]int64{}, changed: make(chan struct{}),
	}
}

// A hand is one worker of a crew.
type hand struct {
	crew    *crew
	name    string
	session *session.Session
	stop    context.CancelFunc
	done    chan error
}

// hire starts a worker with a session of its own.
func (w *crew) hire(name string, change ...func(*leaderworker.Config)) *hand {
	w.t.Helper()
	client, _ := w.c.Dial(w.t)
	return w.hireOn(name, w.c.SessionOn(w.t, client, session.WithName(name)), change...)
}

func (w *crew) hireOn(name string, s *session.Session, change ...func(*leaderworker.Config)) *hand {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	h := &hand{crew: w, name: name, session: s, stop: stop, done: make(chan error, 1)}
	cfg := w.cfg
	cfg.Session, cfg.Name, cfg.Worker = s, w.name, name
	cfg.Work = w.work(name)
	for _, f := range change {
		f(&cfg)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.done <- leaderworker.Run(ctx, cfg)
	}()
	w.t.Cleanup(func() { // before the session's own
		stop()
		harness.Got(w.t, ended)
	})
	return h
}

// leave ends the worker and waits for it.
func (h *hand) leave() {
	h.crew.t.Helper()
	h.stop()
	require.NoError(h.crew.t, harness.Got(h.crew.t, h.done))
}

// work is what a worker does with a shard: it notes that it has it until it is
// told to stop.
func (w *crew) work(name string) func(context.Context, leaderworker.Shard) error {
	return func(ctx context.Context, sh leaderworker.Shard) error {
		w.note(func() {
			if other, ok := w.at[sh.Name()]; ok {
				w.t.Errorf("shard %s: %s begins while %s works on it", sh.Name(), name, other)
			}
			if sh.Token() <= w.tokens[sh.Name()] {
				w.t.Errorf("shard %s: the token %d is not larger than %d", sh.Name(), sh.Token(), w.tokens[sh.Name()])
			}
			w.at[sh.Name()], w.tokens[sh.Name()] = name, sh.Token()
			w.starts++
		})
		<-ctx.Done()
		w.note(func() { delete(w.at, sh.Name()) })
		return nil
	}
}

func (w *crew) note(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

// until waits until what the workers do is as it should be.
func (w *crew) until(what string, ok func(at map[string]string) bool) {
	w.t.Helper()
	ctx := harness.Context(w.t)
	for {
		w.mu.Lock()
		good, changed := ok(w.at), w.changed
		w.mu.Unlock()
		if good {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			require.FailNow(w.t, "it did not come to this", "%s: %v", what, w.counts())
		}
	}
}

func counts(at map[string]string) map[string]int {
	n := map[string]int{}
	for _, worker := range at {
		n[worker]++
	}
	return n
}

func (w *crew) counts() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return counts(w.at)
}

// shared waits until the workers have so many shards each.
func (w *crew) shared(want map[string]int) {
	w.t.Helper()
	w.until("each has its shards", func(at map[string]string) bool {
		got := counts(at)
		if len(got) != len(want) {
			return false
		}
		for worker, n := range want {
			if got[worker] != n {
				return false
			}
		}
		return true
	})
}

func (w *crew) status() leaderworker.Pool {
	w.t.Helper()
	pool, err := leaderworker.Status(harness.Context(w.t), w.c.Client(), "", w.name)
	require.NoError(w.t, err)
	return pool
}

func (w *crew) prefix() string { return "/tenure/pools/" + w.name + "/" }

// ownerOps counts the claims of a request, or as a negative number the
// releases.
func ownerOps(req any, prefix string) (n int) {
	txn, ok := req.(*pb.TxnRequest)
	if !ok {
		return 0
	}
	for _, op := range txn.Success {
		for _, inner := range op.GetRequestTxn().GetSuccess() {
			switch {
			case strings.HasPrefix(string(inner.GetRequestPut().GetKey()), prefix+"owners/"):
				n++
			case strings.HasPrefix(string(inner.GetRequestDeleteRange().GetKey()), prefix+"owners/"):
				n--
			}
		}
	}
	return n
}

// owners are the owner keys, with their create revisions.
func (w *crew) owners() map[string]int64 {
	w.t.Helper()
	resp, err := w.c.Client().Get(harness.Context(w.t), w.prefix()+"owners/", clientv3.WithPrefix())
	require.NoError(w.t, err)
	owners := map[string]int64{}
	for _, kv := range resp.Kvs {
		owners[strings.TrimPrefix(string(kv.Key), w.prefix()+"owners/")] = kv.CreateRevision
	}
	return owners
}

// depose ends the leader's term as its own doing would not: its key is gone. It
// waits until the next leader has written its plan.
func (w *crew) depose() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(harness.Context(w.t))
	defer cancel()
	plans := w.c.Client().Watch(ctx, w.prefix()+"plan", clientv3.WithCreatedNotify())
	<-plans
	resp, err := w.c.Client().Get(ctx, w.prefix()+"leader/", clientv3.WithFirstCreate()...)
	require.NoError(w.t, err)
	require.Len(w.t, resp.Kvs, 1)
	_, err = w.c.Client().Delete(ctx, string(resp.Kvs[0].Key))
	require.NoError(w.t, err)
	select {
	case <-plans:
	case <-ctx.Done():
		require.FailNow(w.t, "no leader came after")
	}
}
