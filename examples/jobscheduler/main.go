// Jobscheduler shows what Tenure is for: a job that must run on one node at a time. Three nodes queue up for a lock,
// its holder runs the job, the holder is cut off from etcd, and another node takes over without a tick being run twice.
//
//	go run ./examples/jobscheduler
//	go run ./examples/jobscheduler --endpoints http://10.0.0.1:2379,http://10.0.0.2:2379
//
// What to read first: node.go is a program that uses a lock, and job.go is work that a lock protects. The rest makes
// a show of it: link.go is a network that can be cut, plot.go decides what happens when, story.go tells it, and
// audit.go reads the records back from etcd and checks them.
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

// config is what the command line says.
type config struct {
	endpoints []string      // of an etcd; none means one inside this program
	duration  time.Duration // of the whole show
	ttl       time.Duration // of the nodes' leases; etcd may grant a longer one
	period    time.Duration // from one tick of the job to the next
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

	switch err := show(ctx, cfg, stdout); {
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

func parse(args []string, stderr io.Writer) (config, error) {
	cfg := config{period: time.Second}
	flags := flag.NewFlagSet("jobscheduler", flag.ContinueOnError)
	flags.SetOutput(stderr)
	list := flags.String("endpoints", "", "comma-separated `addresses` of an etcd; without, one is started in this program")
	flags.DurationVar(&cfg.duration, "duration", 15*time.Second, "how `long` the show takes")
	flags.DurationVar(&cfg.ttl, "ttl", 2*time.Second, "the nodes' leases' time to live, in whole seconds")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if cfg.duration <= 0 {
		return config{}, fmt.Errorf("--duration %s: must be positive", cfg.duration)
	}
	if *list != "" {
		cfg.endpoints = strings.Split(*list, ",")
	}
	return cfg, nil
}
