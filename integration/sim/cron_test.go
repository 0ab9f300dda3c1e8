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
	"github.com/gotenure/tenure/leaderworker/cron"
)

// A cronRun is an attempt to run a job for a tick, from when the job was called
// until it no longer believed to have the claim.
type cronRun struct {
	job, id      string
	host         string
	token        int64
	began, ended time.Duration
}

func (r cronRun) String() string {
	return fmt.Sprintf("%s %s on %s with token %d, from %v to %v", r.job, r.id, r.host, r.token, r.began, r.ended)
}

// cronRuns collects runs.
type cronRuns struct {
	mu   sync.Mutex
	runs []*cronRun
}

func (c *cronRuns) add(r *cronRun) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs = append(c.runs, r)
}

func (c *cronRuns) all() []cronRun {
	c.mu.Lock()
	defer c.mu.Unlock()
	runs := make([]cronRun, len(c.runs))
	for i, r := range c.runs {
		runs[i] = *r
	}
	return runs
}

// cronJobs are jobs of all kinds. The ones that must not overlap are "one" and
// "line".
func cronJobs(h *host, runs *cronRuns) []cron.Job {
	var mu sync.Mutex
	rnd := h.w.RandFor(h.name + "-jobs")
	run := func(ctx context.Context, r *cron.Run) error {
		mu.Lock()
		works, fails := upTo(rnd, 6*time.Second), rnd.IntN(10) == 0
		mu.Unlock()
		run := &cronRun{job: r.Job(), id: r.ID(), host: h.name, token: r.Token(), began: h.w.Now(), ended: -1}
		runs.add(run)
		pause(ctx, works)
		runs.mu.Lock()
		run.ended = h.w.Now()
		runs.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case fails:
			return errors.New("failed")
		}
		return nil
	}
	every := func(d time.Duration) cron.Schedule {
		s, err := cron.Every(d)
		if err != nil {
			panic(err)
		}
		return s
	}
	return []cron.Job{
		{Name: "one", Schedule: every(5 * time.Second), Run: run, Missed: cron.All, Grace: 5 * time.Second, Window: 20 * time.Second},
		{Name: "line", Schedule: every(4 * time.Second), Run: run, Overlap: cron.Queue, Missed: cron.Last, Grace: 2 * time.Second, Jitter: time.Second},
		{Name: "many", Schedule: every(3 * time.Second), Run: run, Overlap: cron.Allow, Grace: 10 * time.Second, History: 5},
		{Name: "calendar", Schedule: cron.MustParse("*/30 * * * * *", time.UTC), Run: run, Attempts: 20, Overlap: cron.Allow, Missed: cron.All},
	}
}

func TestCronHoldsUnderFaults(t *testing.T) {
	from := *first
	if from == 0 {
		from = rand.Uint64() >> 16
	}
	total, again := 0, 0
	for seed := from; seed < from+*seeds/8+1; seed++ {
		nodes := []string{"a", "b", "c"}
		plan := world.Plan(seed, length, nodes, world.DefaultRates())
		var runs cronRuns
		h := onHosts(t, plan, nodes, "/tenure/cron/sim/", func(ctx context.Context, h *host) {
			c, err := cron.New(h.s, "sim", cron.WithDrain(upTo(h.rnd, 3*time.Second)))
			if err == nil {
				err = c.Set(cronJobs(h, &runs)...)
			}
			if err != nil {
				panic(err)
			}
			_ = c.Run(ctx)
		}, func(*testing.T, *world.World) {})
		violations := checkCron(h, runs.all())
		if len(violations) > 0 {
			t.Fatalf("%s\n%s\n%s", plan, history.Report(violations), around(h, violations[0].At))
		}
		seen := make(map[string]bool)
		for _, r := range runs.all() {
			total++
			if seen[r.job+r.id] {
				again++
			}
			seen[r.job+r.id] = true
		}
	}
	t.Logf("%d schedules of %v from seed %d: %d runs, %d of them taken over", *seeds/8+1, length, from, total, again)
	require.Greater(t, total, int(*seeds)*5, "a quiet run proves nothing")
	require.Greater(t, again, int(*seeds)/4, "a quiet run proves nothing")
}

// checkCron checks what is said of cron in INVARIANTS: T1, T2, and that runs
// which must not overlap do not.
func checkCron(h history.History, runs []cronRun) []history.Violation {
	var out []history.Violation
	violation := func(rule, name string, at time.Duration, format string, args ...any) {
		out = append(out, history.Violation{Rule: rule, Name: name, At: at, Text: fmt.Sprintf(format, args...)})
	}
	for _, gap := range h.Gaps {
		violation("blind", "", h.End, "%s", gap)
	}
	byTick, byJob := make(map[string][]cronRun), make(map[string][]cronRun)
	for _, r := range runs {
		if r.ended < 0 {
			r.ended = h.End
		}
		byTick[r.job+" "+r.id] = append(byTick[r.job+" "+r.id], r)
		byJob[r.job] = append(byJob[r.job], r)
	}
	apart := func(rule string, runs []cronRun) {
		slices.SortFunc(runs, func(a, b cronRun) int { return cmp.Compare(a.token, b.token) })
		for i := 1; i < len(runs); i++ {
			a, b := runs[i-1], runs[i]
			if b.began < a.ended {
				violation(rule, b.job, b.began, "at once: %v; %v", a, b)
			}
			if a.token == b.token {
				violation(rule, b.job, b.began, "of one claim: %v; %v", a, b)
			}
		}
	}
	for _, runs := range byTick {
		apart("T1", runs)
	}
	apart("overlap", byJob["one"])
	apart("overlap", byJob["line"])

	// What the store says: a claim of a tick follows the end of the claim before,
	// and none follows an outcome; every tick that was decided has a record.
	claimed := make(map[string]bool)
	outcome := make(map[string]cron.Record)
	type cursor struct {
		first, last time.Time
		waiting     map[time.Time]bool // in the queue
	}
	cursors := make(map[string]*cursor)
	for _, c := range h.Changes {
		kind, rest, _ := strings.Cut(c.Name, "/")
		job, id, isTick := strings.Cut(rest, "/")
		switch {
		case kind == "live" && isTick && c.Deleted:
			claimed[rest] = false
		case kind == "live" && isTick:
			if r, ok := outcome[rest]; ok && r.Outcome != cron.Running {
				violation("T1", job, c.At, "%s is claimed again after it was %s", id, r.Outcome)
			}
			if claimed[rest] {
				violation("T1", job, c.At, "%s is claimed twice", id)
			}
			claimed[rest] = true
		case kind == "live" && !c.Deleted:
			var s struct {
				Cursor  time.Time
				Waiting []struct{ Tick time.Time }
			}
			if err := json.Unmarshal([]byte(c.Value), &s); err != nil {
				violation("T2", job, c.At, "%v", err)
			}
			if cursors[job] == nil {
				cursors[job] = &cursor{first: s.Cursor}
			}
			cursors[job].last = s.Cursor
			cursors[job].waiting = make(map[time.Time]bool)
			for _, w := range s.Waiting {
				cursors[job].waiting[w.Tick] = true
			}
		case kind == "runs" && !c.Deleted:
			var r cron.Record
			if err := json.Unmarshal([]byte(c.Value), &r); err != nil {
				violation("T2", job, c.At, "%v", err)
			}
			outcome[rest] = r
		}
	}
	covered := make(map[string]bool)
	for key, r := range outcome {
		job, _, _ := strings.Cut(key, "/")
		for tick := r.Tick; r.Through.IsZero() && tick.Equal(r.Tick) || !tick.After(r.Through); tick = scheduleOf(job).Next(tick) {
			covered[job+tick.String()] = true
		}
		if r.Outcome == cron.Running && r.Started.Before(worldBegan.Add(h.End-calm/2)) {
			violation("T2", job, h.End, "%s was claimed at %v and has no outcome", r.ID, r.Started)
		}
	}
	for job, c := range cursors {
		for tick := scheduleOf(job).Next(c.first); !tick.After(c.last); tick = scheduleOf(job).Next(tick) {
			if !covered[job+tick.String()] && !c.waiting[tick] {
				violation("T2", job, h.End, "the tick %v has no record", tick)
			}
		}
		if c.last.Before(worldBegan.Add(h.End - 40*time.Second)) {
			violation("T2", job, h.End, "no tick was decided on since %v", c.last)
		}
	}
	return out
}

// worldBegan is when the clock of a bubble begins.
var worldBegan = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func scheduleOf(job string) cron.Schedule {
	interval := map[string]time.Duration{"one": 5, "line": 4, "many": 3, "calendar": 30}[job]
	s, err := cron.Every(interval * time.Second)
	if err != nil {
		panic(err)
	}
	return s
}
