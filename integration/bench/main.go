// Command bench measures Tenure beside etcd's own concurrency package and recipes, in one
// process on one embedded etcd member with fsync, in alternating rounds, so
// that the ratios mean something on a noisy machine.
//
//	go run ./integration/bench [-run REGEXP] [-quick] [-json]
//
// A ratio above 1 is Tenure ahead, whatever the unit. The limit is what etcd
// itself leaves room for, measured in the same rounds where there is such a
// thing.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/gotenure/tenure/embedded"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	do := func() error { return run(ctx, os.Args[1:], os.Stdout) }
	if what := os.Getenv(leaderVariable); what != "" {
		do = func() error { return lead(ctx, what) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	pattern := flags.String("run", "", "measure only the rows that match this regular expression")
	quick := flags.Bool("quick", false, "fewer and shorter rounds: under a minute for all rows")
	asJSON := flags.Bool("json", false, "print one JSON object a line instead of a table")
	if err := flags.Parse(args); err != nil {
		return err
	}
	match, err := regexp.Compile(*pattern)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	plan := plan{rounds: 5, length: 2 * time.Second}
	if *quick {
		plan.rounds, plan.length = 3, 700*time.Millisecond
	}

	cluster, err := embedded.Start(ctx, embedded.Config{})
	if err != nil {
		return err
	}
	defer cluster.Close()

	print, finish := printer(out, *asJSON)
	for _, row := range slices.Concat(mutexRows(), familyRows(), electionRows(), barrierRows(), shardRows(), configRows()) {
		if !match.MatchString(row.name) {
			continue
		}
		result, err := row.measure(ctx, cluster, plan)
		if err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
		print(result)
	}
	return finish()
}

// printer returns what prints a result, and what ends the output.
func printer(out io.Writer, asJSON bool) (func(result), func() error) {
	if asJSON {
		encoder := json.NewEncoder(out)
		return func(r result) { _ = encoder.Encode(r) }, func() error { return nil }
	}
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "row\tunit\ttenure\tpeer\t\tratio\tlimit")
	return func(r result) {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Row, r.Unit,
			number(&r.Tenure), number(r.Peer), r.PeerName, number(r.Ratio), number(r.Limit))
		table.Flush()
	}, table.Flush
}

func number(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v >= 100:
		return fmt.Sprintf("%.0f", *v)
	}
	return fmt.Sprintf("%.2f", *v)
}
