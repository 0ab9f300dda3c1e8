package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A kept record is one as etcd has it.
type kept struct {
	record
	version  int64 // how often the key was written
	revision int64 // when, in the order of all writes
}

// readRecords returns the records of a job in the order of their ticks.
func readRecords(ctx context.Context, client *clientv3.Client, j job) ([]kept, error) {
	resp, err := client.Get(ctx, j.prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("read the records back: %w", err)
	}
	records := make([]kept, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		records[i] = kept{version: kv.Version, revision: kv.ModRevision}
		if err := json.Unmarshal(kv.Value, &records[i].record); err != nil {
			return nil, fmt.Errorf("record %s: %w", kv.Key, err)
		}
	}
	return records, nil
}

// A check is one thing that must be true, and what was found.
type check struct {
	text string
	bad  string // empty if it is true
}

// audit checks what etcd has, and what the nodes saw, against what the lock promises.
func audit(records []kept, s *story) []check {
	checks := []check{
		{fmt.Sprintf("each tick was run by at most one node (records: %d)", len(records)), runTwice(records)},
		{fmt.Sprintf("each new holder had a larger token (holders: %d)", len(s.grants)), tokensFell(records, s.grants)},
		{fmt.Sprintf("what a node saw confirmed is in etcd (runs: %d)", len(s.runs)), missing(records, s.runs)},
	}
	if len(s.retries) > 0 {
		checks = append(checks, check{"etcd took no write from a node that had lost the lock", takenLate(s.retries)})
	}
	if h := s.handover; h.to != nil {
		c := check{text: h.from.name + " had stopped before " + h.to.name + " held the lock"}
		if h.stopped.IsZero() || h.stopped.After(h.taken) {
			c.bad = "it had not"
		}
		checks = append(checks, c)
	}
	return checks
}

// runTwice counts the writes: the key of a tick that was run twice was written twice.
func runTwice(records []kept) string {
	for _, r := range records {
		if r.version != 1 {
			return fmt.Sprintf("tick %d was run %d times", r.Tick, r.version)
		}
	}
	return ""
}

// tokensFell looks for a token that is not larger than that of the holder before, first in what the nodes got and
// then in the order in which etcd took their writes.
func tokensFell(records []kept, grants []event) string {
	for i := 1; i < len(grants); i++ {
		if before, after := grants[i-1], grants[i]; after.token <= before.token {
			return fmt.Sprintf("%s got %d after %s had %d", after.node.name, after.token, before.node.name, before.token)
		}
	}
	ordered := slices.SortedFunc(slices.Values(records), func(a, b kept) int { return cmp.Compare(a.revision, b.revision) })
	for i := 1; i < len(ordered); i++ {
		before, after := ordered[i-1], ordered[i]
		if after.Token < before.Token || after.Token == before.Token && after.Node != before.Node {
			return fmt.Sprintf("%s wrote with %d after %s with %d", after.Node, after.Token, before.Node, before.Token)
		}
	}
	return ""
}

// takenLate looks for a tick that etcd took although its lock was lost.
func takenLate(retries []event) string {
	for _, e := range retries {
		if e.err == nil {
			return fmt.Sprintf("it took tick %d of %s", e.tick, e.node.name)
		}
	}
	return ""
}

// missing looks for a confirmed run without its record.
func missing(records []kept, runs []event) string {
	for _, run := range runs {
		if !slices.ContainsFunc(records, func(r kept) bool { return r.Tick == run.tick && r.Node == run.node.name }) {
			return fmt.Sprintf("tick %d of %s is not", run.tick, run.node.name)
		}
	}
	return ""
}
