package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// errCheck is returned when the records are not as they should be.
var errCheck = errors.New("a check failed")

// conclude reads the records back, says what they show, and deletes them.
func conclude(ctx context.Context, client *clientv3.Client, j job, nodes []*node, s *story) error {
	records, err := readRecords(ctx, client, j)
	if err != nil {
		return err
	}
	checks := audit(records, s)
	printTable(s.out, records, nodes)
	failed := printChecks(s.out, checks)
	printHandover(s.out, s.handover)
	printNext(s.out)
	if _, err := client.Delete(ctx, j.prefix, clientv3.WithPrefix()); err != nil {
		return errors.Join(failed, fmt.Errorf("delete the records: %w", err))
	}
	return failed
}

func printTable(out io.Writer, records []kept, nodes []*node) {
	fmt.Fprint(out, "\nThe records, read back from etcd:\n\n  NODE    RUNS  TICKS\n")
	var all []int64
	for _, n := range nodes {
		var ticks []int64
		for _, r := range records {
			if r.Node == n.name {
				ticks = append(ticks, r.Tick)
			}
		}
		fmt.Fprintf(out, "  %s  %4d  %s\n", n.name, len(ticks), ranges(ticks))
	}
	for _, r := range records {
		all = append(all, r.Tick)
	}
	if skipped := gaps(all); len(skipped) > 0 {
		fmt.Fprintf(out, "  nobody  %4d  %s\n", len(skipped), ranges(skipped))
		fmt.Fprint(out, "\nThe lock was on its way then: a tick is rather skipped than run twice.\n")
	}
}

func printChecks(out io.Writer, checks []check) error {
	fmt.Fprint(out, "\nChecked:\n\n")
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

func printHandover(out io.Writer, h handover) {
	if h.to == nil {
		fmt.Fprint(out, "\nNo handover was seen: it ended too early for that.\n")
		return
	}
	fmt.Fprintf(out, "\nThe handover from %s to %s:\n\n", h.from.name, h.to.name)
	span := func(from, to time.Time, text string) {
		if !from.IsZero() && !to.IsZero() {
			fmt.Fprintf(out, "  %8s  %s\n", length(to.Sub(from)), text)
		}
	}
	span(h.cut, h.stopped, "from the cut until "+h.from.name+" knew and had stopped")
	span(h.stopped, h.taken, "from then until "+h.to.name+" held the lock")
	span(h.cut, h.taken, "from the cut until "+h.to.name+" held the lock")
	span(h.lastRun, h.firstRun, "from the last run before to the first run after")
}

func printNext(out io.Writer) {
	fmt.Fprint(out, `
What to look at next:

  go run ./examples/jobscheduler --endpoints http://localhost:2379
      the same on a real etcd; meanwhile, in another terminal,
  tenure queue nightly-report
      shows who holds the lock and who waits
  examples/jobscheduler/node.go and job.go
      are the part that a program of yours would have
`)
}

// ranges writes increasing numbers as 1-5, 8, 10-12.
func ranges(numbers []int64) string {
	if len(numbers) == 0 {
		return "-"
	}
	var parts []string
	for i := 0; i < len(numbers); {
		last := i
		for last+1 < len(numbers) && numbers[last+1] == numbers[last]+1 {
			last++
		}
		if last == i {
			parts = append(parts, fmt.Sprint(numbers[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", numbers[i], numbers[last]))
		}
		i = last + 1
	}
	return strings.Join(parts, ", ")
}

// gaps returns what is missing between 1 and the last of some increasing numbers.
func gaps(numbers []int64) []int64 {
	var missing []int64
	next := int64(1)
	for _, n := range numbers {
		for ; next < n; next++ {
			missing = append(missing, next)
		}
		next = n + 1
	}
	return missing
}
