package admission

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/prefixwatch"
	"github.com/gotenure/tenure/session"
)

// frontLimit is how many keys the entering transaction returns. Up to that
// many, no further read is needed to know who is ahead.
const frontLimit = 8

// A line is what readers, writers and requests for permits have in common.
type line struct {
	session *session.Session
	prefix  string // ends in a slash
	explain func(error) error
}

// A place is one acquisition's in the queue.
type place struct {
	*leasekey.Key
	free  func() // gives its slot back
	ahead int    // other keys, when this one was created; -1 if that is not known
}

// begin chooses the key of an acquisition, in the session's lowest free slot
// of a kind.
func (l *line) begin(epoch *session.Epoch, kind string) *place {
	type slotsKey struct{ prefix string }
	value, letGo := l.session.Share(slotsKey{l.prefix + kind}, func() any { return new(slots) })
	pool := value.(*slots)
	slot := pool.take()
	return &place{
		Key: leasekey.New(epoch, keys.Slot(l.prefix+kind, epoch.Lease(), slot)),
		free: sync.OnceFunc(func() {
			pool.put(slot)
			letGo()
		}),
	}
}

// hold makes the caller the holder by an admitted key.
func (l *line) hold(ctx context.Context, p *place, serial int64, guard clientv3.Cmp) (*leasekey.Hold, error) {
	return leasekey.NewHold(ctx, p.Key, leasekey.HoldConfig{
		Serial:  serial,
		Guard:   guard,
		Ahead:   leasekey.Ahead{Keys: p.ahead},
		Explain: l.explain,
		Release: func(ctx context.Context, _ bool) error { return p.Release(ctx, p.free) },
		Lost:    p.free,
	})
}

// watching returns a context that ends, with the cause, when the key of a
// waiter is lost.
func (p *place) watching(ctx context.Context) (context.Context, context.CancelCauseFunc, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	if err := p.OnLoss(func(cause error) { cancel(cause) }); err != nil {
		cancel(err)
		return nil, nil, err
	}
	return ctx, cancel, nil
}

// await waits until the key is gone or written again, and returns a revision at
// which it was, and which of the two.
func (l *line) await(ctx context.Context, epoch *session.Epoch, behind Key, from int64) (rev int64, gone bool, err error) {
	watch := prefixwatch.Open(ctx, l.session.Client(), prefixwatch.Config{
		Key: behind.Name, KeysOnly: true, From: from, Probe: epoch.TTL(),
	})
	defer watch.Close()
	for first := true; ; first = false {
		update, err := watch.Next(ctx)
		if err != nil {
			return 0, false, ended(ctx, err)
		}
		if changed, gone := changed(update, behind, first); changed {
			return update.Revision, gone, nil
		}
	}
}

// changed tells whether an update shows that the key is no longer as it was
// seen, and whether it is gone; the same name may have been created anew since.
// The first update shows what is there; later ones show what has changed, also
// those that say Reset: one without events means that nothing has.
func changed(update prefixwatch.Update, key Key, first bool) (changed, gone bool) {
	for _, ev := range update.Events {
		switch {
		case ev.Type == clientv3.EventTypeDelete, ev.Kv.CreateRevision > key.Create:
			return true, true
		case ev.Kv.ModRevision > key.Mod:
			changed = true
		}
	}
	gone = first && len(update.Events) == 0
	return changed || gone, gone
}

// latest is for reads that have to show everything that was answered before.
const latest = -1

// read carries out reads at revision rev or later, outside of the loop that
// applies writes, trying until ctx ends.
func (l *line) read(ctx context.Context, rev int64, ops ...clientv3.Op) (*clientv3.TxnResponse, error) {
	for failures := 0; ; failures++ {
		var resp *clientv3.TxnResponse
		var err error
		if client := l.session.Client(); rev == latest {
			resp, err = prefixwatch.ReadAll(ctx, client, ops...)
		} else {
			resp, err = prefixwatch.ReadAllAtLeast(ctx, client, rev, ops...)
		}
		switch {
		case err == nil:
			return resp, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case leasekey.Refused(err): // also for being compacted
			return nil, fmt.Errorf("read the queue %q: %w", l.prefix, err)
		}
		leasekey.Pause(ctx, failures)
	}
}

// member makes a Key of what was read.
func (l *line) member(kv *mvccpb.KeyValue) Key {
	k := Key{Name: string(kv.Key), Create: kv.CreateRevision, Mod: kv.ModRevision}
	rest := strings.TrimPrefix(k.Name, l.prefix)
	k.Writer = strings.HasPrefix(rest, writers)
	if weight, ok := strings.CutPrefix(rest, requests); ok {
		weight, _, _ = strings.Cut(weight, "/")
		k.Weight, _ = strconv.ParseInt(weight, 10, 64) // 0 for what is none of ours
	}
	return k
}

// ahead are the keys of an answer that are older than the own one.
func (l *line) ahead(kvs []*mvccpb.KeyValue, own int64) []Key {
	var ahead []Key
	for _, kv := range kvs {
		if kv.CreateRevision < own {
			ahead = append(ahead, l.member(kv))
		}
	}
	return ahead
}

// others is how many keys the entering transaction has shown besides the own
// one, which may be among them; -1 if its answer was lost.
func others(created leasekey.Created, own bool) int {
	switch {
	case created.Answers == nil:
		return -1
	case own:
		return int(created.Answers[0].Count) - 1
	}
	return int(created.Answers[0].Count)
}

// ended prefers why ctx has ended to the error that came of it.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// slots are the numbers of a session's keys of one kind.
type slots struct {
	mu   sync.Mutex
	used []bool
}

// take returns the lowest number that is free.
func (s *slots) take() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.used, false); i >= 0 {
		s.used[i] = true
		return i
	}
	s.used = append(s.used, true)
	return len(s.used) - 1
}

func (s *slots) put(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[i] = false
}
