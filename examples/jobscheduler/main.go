// Jobscheduler is a job scheduler on three nodes: jobs that are due at times, a queue of tasks, and shards that each node
// has some of. The leading node is cut off, comes back, the jobs are changed and a fourth node joins, all while it runs;
// at the end it proves that nothing was done twice, left out or lost.
//
//	go run ./examples/jobscheduler                                       the show, by itself, on an etcd inside
//	go run ./examples/jobscheduler --endpoints ADDRESSES                 the show on a real etcd
//	go run ./examples/jobscheduler --endpoints ADDRESSES --node NAME     one node as a process of its own, until Ctrl-C
//
// What to read first: node.go is a program that takes part, work.go is what it does, and jobs.go is the YAML document that
// says when. The rest makes a show of it: link.go is a network that can be cut, script.go decides what happens when,
// screen.go and board.go show it, and proof.go checks what is in etcd at the end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// settings are what the command line says.
type settings struct {
	endpoints []string      // of an etcd; none means one inside this program
	duration  time.Duration // of the whole show
	ttl       time.Duration // of the nodes' leases; etcd may grant a longer one
	node      string        // run this node only
	jobs      string        // a file for the document, with node only
}

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with an exit code: 0 if all was well, also after Ctrl-C; 1 after an error or a check that failed; 2 after
// a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "jobscheduler: %v\n", err)
		return 2
	}

	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait for the orderly end

	act := show
	if cfg.node != "" {
		act = alone
	}
	switch err := act(ctx, cfg, stdout); {
	case err == nil:
		return 0
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(stdout, "\nInterrupted before it began.")
		return 0
	default:
		fmt.Fprintf(stderr, "jobscheduler: %v\n", err)
		return 1
	}
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var cfg settings
	flags := flag.NewFlagSet("jobscheduler", flag.ContinueOnError)
	flags.SetOutput(stderr)
	list := flags.String("endpoints", "", "comma-separated `addresses` of an etcd; without, one is started in this program")
	flags.DurationVar(&cfg.duration, "duration", 15*time.Second, "how `long` the show takes, a minute at most")
	flags.DurationVar(&cfg.ttl, "ttl", 2*time.Second, "the nodes' leases' time to live, in whole seconds")
	flags.StringVar(&cfg.node, "node", "", "run one node of this `name` until Ctrl-C, beside those of other processes")
	flags.StringVar(&cfg.jobs, "jobs", "", "with --node: a YAML `file` to put into etcd as the jobs of all nodes")
	if err := flags.Parse(args); err != nil {
		return settings{}, err
	}
	switch {
	case flags.NArg() > 0:
		return settings{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case cfg.duration <= 0 || cfg.duration > time.Minute:
		return settings{}, fmt.Errorf("--duration %s: must be positive and a minute at most", cfg.duration)
	case cfg.node != "" && *list == "":
		return settings{}, errors.New("--node needs --endpoints: the nodes meet in an etcd")
	case cfg.jobs != "" && cfg.node == "":
		return settings{}, errors.New("--jobs goes with --node")
	}
	if *list != "" {
		cfg.endpoints = strings.Split(*list, ",")
	}
	return cfg, nil
}
