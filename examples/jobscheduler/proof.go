package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/gotenure/tenure/leaderworker/cron"
)

// errCheck is returned when something is not as it should be.
var errCheck = errors.New("a check failed")

// A change of the jobs was under way from before to after.
type change struct{ before, after time.Time }

// A check is one thing that must be true, and what was found.
type check struct {
	text string
	bad  string // empty if it is true
}

// prove checks what is in etcd, and what the witness saw.
func prove(e evidence) []check {
	ticks, failed, again := 0, 0, 0
	for job := range e.jobs {
		ticks += len(e.ran[job])
		for _, r := range e.records[job] {
			if r.Outcome == cron.Failed || r.Outcome == cron.Lost {
				failed++
			}
			if r.Attempt > 1 {
				again++
			}
		}
	}
	return []check{
		{fmt.Sprintf("every tick was claimed once (ran: %d, of them taken over: %d; failed: %d)", ticks, again, failed), claimedTwice(e)},
		{"no tick was left out between a job's first and its last", leftOut(e)},
		{fmt.Sprintf("every task was done once, or is accounted for (done: %d, dead letters: %d, still in the queue: %d)",
			len(e.done), len(e.dead), len(e.waiting)), unaccounted(e)},
		{fmt.Sprintf("no shard had two owners at a time (ownerships: %d, late writes refused: %d)", len(e.owned), e.refused), twoOwners(e)},
		{fmt.Sprintf("nothing was worked on by two nodes at a time (work begun: %d times)", e.begun), first(e.wrong)},
	}
}

// claimedTwice looks for a tick with two records. That each claim was begun once, and not by two nodes at a time, is
// for the witness to say.
func claimedTwice(e evidence) string {
	for _, job := range slices.Sorted(maps.Keys(e.records)) {
		seen := map[int64]bool{}
		for _, r := range e.records[job] {
			if r.Count > 0 {
				continue // dropped ones
			}
			if seen[r.Tick.UnixMilli()] {
				return fmt.Sprintf("%s of %s has two records", job, clock(r.Tick))
			}
			seen[r.Tick.UnixMilli()] = true
		}
	}
	return ""
}

// leftOut looks for a tick that has left nothing, and that neither failed nor was dropped, on the record. While the jobs
// were being changed a tick of the schedule before or after is as good.
func leftOut(e evidence) string {
	for _, job := range slices.Sorted(maps.Keys(e.ran)) {
		ran := slices.Sorted(maps.Keys(e.ran[job]))
		known := maps.Clone(e.ran[job])
		for _, r := range e.records[job] {
			switch tick := r.Tick.UnixMilli(); {
			case r.Outcome == cron.Failed || r.Outcome == cron.Lost:
				known[tick] = true
			case r.Outcome == cron.Done && !known[tick]:
				return fmt.Sprintf("%s of %s: on record as done, but it was not", job, clock(r.Tick))
			}
		}
		for _, tick := range e.due(job, ran[0], ran[len(ran)-1]) {
			if !known[tick] && !e.dropped(job, tick) {
				return fmt.Sprintf("%s of %s", job, clock(time.UnixMilli(tick)))
			}
		}
	}
	return ""
}

// due returns the ticks that a job had to have.
func (e evidence) due(job string, first, last int64) []int64 {
	var ticks []int64
	add := func(jobs map[string]jobSpec, from, to int64) {
		every := jobs[job].Every.Milliseconds()
		if every == 0 {
			return // it was not among them
		}
		for tick := (from + every - 1) / every * every; tick <= to; tick += every {
			ticks = append(ticks, tick)
		}
	}
	if e.changed.after.IsZero() {
		add(e.jobs, first, last)
		return ticks
	}
	add(e.before, first, min(last, e.changed.before.UnixMilli()))
	add(e.jobs, max(first, e.changed.after.UnixMilli()), last)
	return ticks
}

// dropped tells whether the scheduler says that it dropped a tick.
func (e evidence) dropped(job string, tick int64) bool {
	return slices.ContainsFunc(e.records[job], func(r cron.Record) bool {
		return r.Count > 0 && r.Tick.UnixMilli() <= tick && tick <= max(r.Tick.UnixMilli(), r.Through.UnixMilli())
	})
}

// unaccounted looks for a task that the queue accepted and that is nowhere, or in two places, or that it accepted twice:
// once from each of two attempts at a tick.
func unaccounted(e evidence) string {
	names := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(e.accepted)) {
		if names[e.accepted[id]] {
			return fmt.Sprintf("task %s was accepted twice", e.accepted[id])
		}
		names[e.accepted[id]] = true
		places := 0
		for _, in := range []map[string]bool{e.done, e.dead, e.waiting} {
			if in[id] {
				places++
			}
		}
		switch {
		case places == 0:
			return fmt.Sprintf("task %s is lost", e.accepted[id])
		case e.done[id] && e.dead[id]:
			return fmt.Sprintf("task %s is done and a dead letter", e.accepted[id])
		}
	}
	return ""
}

// An ownership of a shard is as long as its writes, in the order in which etcd took all writes.
type ownership struct {
	shard, node string
	token       int64
	first, last int64 // revisions
}

// twoOwners looks for an owner that wrote after the next one had begun to.
func twoOwners(e evidence) string {
	ordered := slices.SortedFunc(slices.Values(e.owned), func(a, b ownership) int {
		return cmp.Or(cmp.Compare(a.shard, b.shard), cmp.Compare(a.token, b.token))
	})
	for i := 1; i < len(ordered); i++ {
		if before, after := ordered[i-1], ordered[i]; before.shard == after.shard && before.last >= after.first {
			return fmt.Sprintf("%s wrote to shard %s after %s had begun to", before.node, before.shard, after.node)
		}
	}
	return ""
}

func first(wrong []string) string {
	if len(wrong) == 0 {
		return ""
	}
	return wrong[0]
}

// printChecks prints what was found, and returns errCheck if anything is not as it should be.
func printChecks(out io.Writer, checks []check) error {
	var failed error
	for _, c := range checks {
		if c.bad == "" {
			fmt.Fprintf(out, "  ok      %s\n", c.text)
			continue
		}
		fmt.Fprintf(out, "  FAILED  %s: %s\n", c.text, c.bad)
		failed = errCheck
	}
	return failed
}
