package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/gotenure/tenure/leaderworker/cron"
	"github.com/stretchr/testify/require"
)

// second is a tick of a job that is due every second.
func second(n int64) int64 { return n * 1000 }

func goodEvidence() evidence {
	at := func(n int64) time.Time { return time.UnixMilli(second(n)) }
	return evidence{
		before:  map[string]jobSpec{"a": {Every: 2 * time.Second}},
		jobs:    map[string]jobSpec{"a": {Every: time.Second}, "b": {Every: 2 * time.Second}},
		changed: change{at(15), at(16)},
		ran: map[string]map[int64]bool{
			"a": {second(10): true, second(12): true, second(14): true, second(16): true, second(17): true, second(20): true},
			"b": {second(18): true, second(20): true},
		},
		records: map[string][]cron.Record{"a": {
			{Tick: at(20), Outcome: cron.Done, Attempt: 2},
			{Tick: at(19), Outcome: cron.Failed, Attempt: 1},
			{Tick: at(18), Outcome: cron.DropBusy, Count: 1},
		}},
		accepted: map[string]string{"1": "order 1", "2": "order 2", "3": "order 3"},
		done:     map[string]bool{"1": true}, dead: map[string]bool{"2": true}, waiting: map[string]bool{"3": true},
		owned: []ownership{{"0", "node-2", 20, 201, 209}, {"0", "node-1", 10, 101, 200}, {"1", "node-1", 10, 101, 220}},
	}
}

func TestTheProofFindsWhatIsNotToHappen(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(e *evidence)
		bad   string
	}{
		{"nothing", func(*evidence) {}, ""},
		{"a tick with two records", func(e *evidence) { e.records["a"] = append(e.records["a"], e.records["a"][0]) }, "has two records"},
		{"a tick left out before the change", func(e *evidence) { delete(e.ran["a"], second(12)) }, "a of " + clock(time.UnixMilli(second(12)))},
		{"a tick left out after the change", func(e *evidence) { delete(e.ran["a"], second(17)) }, "a of " + clock(time.UnixMilli(second(17)))},
		{"a tick that was claimed and forgotten", func(e *evidence) { e.records["a"][1].Outcome = cron.Running }, "a of " + clock(time.UnixMilli(second(19)))},
		{"a tick that is only said to be done", func(e *evidence) { e.records["a"][1].Outcome = cron.Done }, "on record as done, but it was not"},
		{"a tick dropped without a record", func(e *evidence) { e.records["a"] = e.records["a"][:2] }, "a of " + clock(time.UnixMilli(second(18)))},
		{"a task that is nowhere", func(e *evidence) { delete(e.waiting, "3") }, "task order 3 is lost"},
		{"a task that was put in twice", func(e *evidence) { e.accepted["2"] = "order 1" }, "task order 1 was accepted twice"},
		{"a task that is done and dead", func(e *evidence) { e.dead["1"] = true }, "task order 1 is done and a dead letter"},
		{"an owner that wrote after the next", func(e *evidence) { e.owned[1].last = 205 }, "node-1 wrote to shard 0 after node-2 had begun to"},
		{"what the witness saw", func(e *evidence) { e.wrong = []string{"two at a time"} }, "two at a time"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := goodEvidence()
			test.spoil(&e)
			var out bytes.Buffer
			err := printChecks(&out, prove(e))
			if test.bad == "" {
				require.NoError(t, err)
				require.NotContains(t, out.String(), "FAILED")
				require.Contains(t, out.String(), "ran: 8, of them taken over: 1; failed: 1")
				return
			}
			require.ErrorIs(t, err, errCheck)
			require.Contains(t, out.String(), test.bad)
		})
	}
}

func TestTheWitnessSeesTwoAtATimeAndClaimsThatBeginTwice(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(w *witness)
		bad  string
	}{
		{"one after the other", func(w *witness) { w.begin("task 1", "node-1", 1)(); w.begin("task 1", "node-2", 2)() }, ""},
		{"different things", func(w *witness) { w.begin("task 1", "node-1", 2); w.begin("task 2", "node-2", 1) }, ""},
		{"a shard's work that failed", func(w *witness) { w.begin("shard 1", "node-1", 1)(); w.begin("shard 1", "node-1", 1)() }, ""},
		{"two at a time", func(w *witness) { w.begin("task 1", "node-1", 1); w.begin("task 1", "node-2", 2) }, "task 1: node-2 began while node-1 worked on it"},
		{"a claim begun twice", func(w *witness) { w.begin("task 1", "node-1", 1)(); w.begin("task 1", "node-1", 1)() }, "task 1: node-1 has token 1 after 1"},
		{"a token that fell", func(w *witness) { w.begin("shard 1", "node-1", 2)(); w.begin("shard 1", "node-2", 1)() }, "shard 1: node-2 has token 1 after 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWitness()
			test.do(w)
			_, wrong := w.testimony()
			require.Equal(t, test.bad, first(wrong))
		})
	}
}

func TestOnATerminalTheTableStaysAtTheBottom(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, live: true, start: time.Now()}
	s.draw("\none\ntwo\n")
	out.Reset()
	s.print("told\n")
	require.Equal(t, "\x1b[3A\x1b[Jtold\n\none\ntwo\n", out.String(), "the table goes, and comes back below what is told")
	out.Reset()
	s.draw("\none\ntwo\n")
	require.Empty(t, out.String(), "nothing has changed")
	s.draw("")
	s.print("after\n")
	require.Equal(t, "\x1b[3A\x1b[Jafter\n", out.String())
}

func TestDocumentsThatCannotWorkAreRefused(t *testing.T) {
	require.NoError(t, (&document{Jobs: map[string]jobSpec{"a": {Every: time.Second}}}).Validate())
	for _, bad := range []document{
		{TaskTakes: -1},
		{Jobs: map[string]jobSpec{"a": {}}},
		{Jobs: map[string]jobSpec{"a": {Every: time.Second, Takes: -1}}},
		{Jobs: map[string]jobSpec{"a": {Every: time.Second, Tasks: 101}}},
	} {
		require.Error(t, bad.Validate())
	}
}
