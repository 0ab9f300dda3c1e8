package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/integration/history"
	"github.com/gotenure/tenure/integration/world"
	"github.com/gotenure/tenure/leaderworker/queue"
)

// maxActive is how many tasks of the queue "bounded" may be claimed at once.
const maxActive = 3

// A queueRun is a try of a task, from when the handler was called until it no
// longer believed to have the claim.
type queueRun struct {
	queue, id, host string
	token           int64
	began, ended    time.Duration
	done            bool // it returned nil
}

func (r queueRun) String() string {
	return fmt.Sprintf("%s on %s with token %d, from %v to %v", r.id, r.host, r.token, r.began, r.ended)
}

// A queueLog is what producers and handlers have seen.
type queueLog struct {
	mu       sync.Mutex
	runs     []*queueRun
	accepted map[string]time.Duration   // ids, and when
	deduped  map[string]map[string]bool // ids accepted, or named as the first, by queue and dedupe key
}

func newQueueLog() *queueLog {
	return &queueLog{accepted: make(map[string]time.Duration), deduped: make(map[string]map[string]bool)}
}

func (l *queueLog) handle(h *host, name string, rnd *rand.Rand) queue.Handler {
	var mu sync.Mutex
	return func(ctx context.Context, t *queue.Task) error {
		mu.Lock()
		works, fails, progress := upTo(rnd, 2*time.Second), rnd.IntN(6) == 0, rnd.IntN(4) == 0
		mu.Unlock()
		r := &queueRun{queue: name, id: t.ID(), host: h.name, token: t.Token(), began: h.w.Now(), ended: -1}
		l.mu.Lock()
		l.runs = append(l.runs, r)
		l.mu.Unlock()
		if progress {
			short, cancel := context.WithTimeout(ctx, works/2)
			_ = t.Progress(short, "begun")
			cancel()
		}
		pause(ctx, works)
		l.mu.Lock()
		defer l.mu.Unlock()
		r.ended = h.w.Now()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case fails:
			return errors.New("failed")
		}
		r.done = true
		return nil
	}
}

// produce enqueues until ctx or the time of the faults ends.
func (l *queueLog) produce(ctx context.Context, h *host, name string, q *queue.Queue, rnd *rand.Rand) {
	for ctx.Err() == nil && h.w.Now() < length {
		pause(ctx, upTo(rnd, 4*time.Second))
		var opts []queue.TaskOption
		dedupe := ""
		if rnd.IntN(3) == 0 {
			dedupe = fmt.Sprint("key ", rnd.IntN(30))
			opts = append(opts, queue.Dedupe(dedupe))
		}
		if rnd.IntN(4) == 0 {
			opts = append(opts, queue.Delay(upTo(rnd, 10*time.Second)))
		}
		opts = append(opts, queue.Priority(rnd.IntN(10)))
		patience, cancel := context.WithTimeout(ctx, upTo(rnd, 5*time.Second))
		id, err := q.Enqueue(patience, []byte("payload"), opts...)
		cancel()
		l.mu.Lock()
		if err == nil {
			l.accepted[name+"/"+id] = h.w.Now()
		}
		if dedupe != "" && (err == nil || errors.Is(err, queue.ErrDuplicate)) {
			key := name + "/" + dedupe
			if l.deduped[key] == nil {
				l.deduped[key] = make(map[string]bool)
			}
			l.deduped[key][id] = true
		}
		l.mu.Unlock()
	}
}

// program is a process that produces and consumes.
func (l *queueLog) program(ctx context.Context, h *host) {
	var group sync.WaitGroup
	for _, name := range []string{"free", "bounded"} {
		opts := []queue.Option{queue.WithBackoff(func(n int) time.Duration { return time.Duration(n) * time.Second })}
		if name == "bounded" {
			opts = append(opts, queue.WithMaxActive(maxActive))
		}
		q, err := queue.New(h.s, name, opts...)
		if err != nil {
			panic(err)
		}
		rnd := h.w.RandFor(h.name + name)
		workers, prefetch, drain := 1+rnd.IntN(3), rnd.IntN(3), upTo(rnd, 2*time.Second)
		handler := l.handle(h, name, h.w.RandFor(h.name+name+"-handler"))
		group.Go(func() {
			_ = q.Consume(ctx, handler, queue.Workers(workers), queue.Prefetch(prefetch), queue.Drain(drain))
		})
		group.Go(func() { l.produce(ctx, h, name, q, rnd) })
	}
	group.Wait()
}

func TestQueueHoldsUnderFaults(t *testing.T) {
	from := *first
	if from == 0 {
		from = rand.Uint64() >> 16
	}
	total, again, accepted := 0, 0, 0
	for seed := from; seed < from+*seeds/8+1; seed++ {
		nodes := []string{"a", "b", "c"}
		plan := world.Plan(seed, length, nodes, world.DefaultRates())
		log := newQueueLog()
		h := onHosts(t, plan, nodes, "/tenure/queues/", log.program, func(*testing.T, *world.World) {})
		if violations := log.check(h); len(violations) > 0 {
			t.Fatalf("%s\n%s\n%s", plan, history.Report(violations), around(h, violations[0].At))
		}
		seen := make(map[string]bool)
		for _, r := range log.runs {
			total++
			if seen[r.id] {
				again++
			}
			seen[r.id] = true
		}
		accepted += len(log.accepted)
	}
	t.Logf("%d schedules of %v from seed %d: %d tasks accepted, %d tries, %d of them not the first", *seeds/8+1, length, from, accepted, total, again)
	require.Greater(t, accepted, int(*seeds)*5, "a quiet run proves nothing")
	require.Greater(t, again, int(*seeds)/2, "a quiet run proves nothing")
}

// check checks what is said of queues in INVARIANTS: Q1 to Q3, and the bound on
// claimed tasks.
func (l *queueLog) check(h history.History) []history.Violation {
	var out []history.Violation
	violation := func(rule, name string, at time.Duration, format string, args ...any) {
		out = append(out, history.Violation{Rule: rule, Name: name, At: at, Text: fmt.Sprintf(format, args...)})
	}
	for _, gap := range h.Gaps {
		violation("blind", "", h.End, "%s", gap)
	}
	l.mu.Lock()
	defer l.mu.Unlock()

	byTask := make(map[string][]queueRun)
	type edge struct {
		at   time.Duration
		step int
	}
	var edges []edge
	did := make(map[string]map[int64]bool) // tokens whose handler returned nil
	for _, r := range l.runs {
		run := *r
		if run.ended < 0 {
			run.ended = h.End
		}
		key := run.queue + "/" + run.id
		byTask[key] = append(byTask[key], run)
		if run.done {
			if did[key] == nil {
				did[key] = make(map[int64]bool)
			}
			did[key][run.token] = true
		}
		if run.queue == "bounded" {
			edges = append(edges, edge{run.began, 1}, edge{run.ended, -1})
		}
	}
	for key, runs := range byTask {
		slices.SortFunc(runs, func(a, b queueRun) int { return cmp.Compare(a.token, b.token) })
		for i := 1; i < len(runs); i++ {
			if a, b := runs[i-1], runs[i]; b.began < a.ended || a.token == b.token {
				violation("Q2", key, b.began, "at once: %v; %v", a, b)
			}
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.step, b.step)) })
	active := 0
	for _, e := range edges {
		if active += e.step; active > maxActive {
			violation("bound", "bounded", e.at, "%d tasks are worked on at once", active)
			break
		}
	}
	for key, ids := range l.deduped {
		if len(ids) > 1 {
			violation("Q3", key, h.End, "accepted as %v", ids)
		}
	}
	out = append(out, l.store(h, did)...)
	return out
}

// store checks what the store did, revision by revision: a task that leaves its
// place goes to another, or to the dead letters, or was done under the claim that
// was there.
func (l *queueLog) store(h history.History, did map[string]map[int64]bool) []history.Violation {
	var out []history.Violation
	violation := func(rule, name string, at time.Duration, format string, args ...any) {
		out = append(out, history.Violation{Rule: rule, Name: name, At: at, Text: fmt.Sprintf(format, args...)})
	}
	places := make(map[string]map[string]time.Duration) // by task: where it stands, and since when
	claimed := make(map[string]int64)                   // by task: the claim that exists
	ended := make(map[string]bool)                      // dead, or done
	dedupes := make(map[string]string)
	for _, changes := range byRevision(h.Changes) {
		left := make(map[string]bool)
		held := make(map[string]int64)
		for _, c := range changes {
			name, rest, _ := strings.Cut(c.Name, "/")
			parts := strings.Split(rest, "/")
			id := parts[len(parts)-1]
			if dash := strings.LastIndexByte(id, '-'); dash >= 0 {
				id = id[dash+1:]
			}
			key := name + "/" + id
			switch {
			case parts[0] == "shards" && parts[2] == "claims" && c.Deleted:
				held[key] = claimed[key]
				delete(claimed, key)
			case parts[0] == "shards" && parts[2] == "claims" && claimed[key] != 0 && claimed[key] != c.Created:
				violation("Q2", key, c.At, "claimed while it is claimed")
			case parts[0] == "shards" && parts[2] == "claims":
				claimed[key] = c.Created
			case parts[0] == "shards" && c.Deleted:
				delete(places[key], parts[3])
				left[key] = true
			case parts[0] == "shards":
				if places[key] == nil {
					places[key] = make(map[string]time.Duration)
				}
				places[key][parts[3]] = c.At
			case parts[0] == "dead":
				ended[key] = true
			case parts[0] == "tasks" && !c.Deleted:
				header, _, _ := strings.Cut(c.Value, "\n")
				var t struct{ Dedupe string }
				if err := json.Unmarshal([]byte(header), &t); err != nil {
					violation("Q1", key, c.At, "%v", err)
				}
				if first, ok := dedupes[name+"/"+t.Dedupe]; ok && t.Dedupe != "" && first != id {
					violation("Q3", key, c.At, "is there, and so was %s, for the dedupe key %q", first, t.Dedupe)
				}
				dedupes[name+"/"+t.Dedupe] = id
			case parts[0] == "tasks":
				if !did[key][held[key]] {
					violation("Q1", key, c.At, "is removed under the claim %d, whose handler has not done it", held[key])
				}
				ended[key] = true
			}
		}
		for key := range left {
			if len(places[key]) == 0 && !ended[key] {
				violation("Q1", key, changes[0].At, "is gone, and neither done nor a dead letter")
			}
		}
	}
	for key, at := range l.accepted {
		if len(places[key]) == 0 && !ended[key] {
			violation("Q1", key, at, "was accepted, and is gone")
		}
	}
	for key, where := range places {
		for _, since := range where {
			if since < h.End-50*time.Second {
				violation("Q1", key, h.End, "is still to be done, untouched since %v", since)
			}
		}
	}
	return out
}

func byRevision(changes []history.Change) [][]history.Change {
	var out [][]history.Change
	for i, c := range changes {
		if i == 0 || changes[i-1].Revision != c.Revision {
			out = append(out, nil)
		}
		if c.Name != "" {
			out[len(out)-1] = append(out[len(out)-1], c)
		}
	}
	return slices.DeleteFunc(out, func(group []history.Change) bool { return len(group) == 0 })
}
