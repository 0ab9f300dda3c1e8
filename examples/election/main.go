// Election shows how a service finds its leader: three candidates stand, the leader hands over to the one that is
// named, a leader crashes, another one leaves in good order, and an observer tells every term.
//
//	go run ./examples/election
//	go run ./examples/election --endpoints http://10.0.0.1:2379,http://10.0.0.2:2379
//
// What to read first: candidate.go is a program that takes part. story.go decides what happens when, and tells it.
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

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/embedded"
)

// config is what the command line says.
type config struct {
	endpoints []string      // of an etcd; none means one inside this program
	ttl       time.Duration // of the candidates' leases; etcd may grant a longer one
}

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with an exit code: 0 if all was well, also after Ctrl-C; 1 after an error; 2 after a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "election: %v\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = show(ctx, cfg, stdout)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stdout, "\nInterrupted.")
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "election: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("election", flag.ContinueOnError)
	flags.SetOutput(stderr)
	list := flags.String("endpoints", "", "comma-separated `addresses` of an etcd; without, one is started in this program")
	flags.DurationVar(&cfg.ttl, "ttl", 2*time.Second, "the candidates' leases' time to live, in whole seconds")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *list != "" {
		cfg.endpoints = strings.Split(*list, ",")
	}
	return cfg, nil
}

// connection returns the settings of an etcd client, and what ends the etcd if it is one of this program's own.
func connection(ctx context.Context, endpoints []string) (clientv3.Config, func() error, error) {
	if len(endpoints) > 0 {
		cfg, err := tenure.ClientConfig(endpoints)
		return cfg, func() error { return nil }, err
	}
	// The members' heartbeat is fast, so that the etcd is there at once; nothing has to survive this program.
	cluster, err := embedded.Start(ctx, embedded.Config{NoFsync: true, Tick: 10 * time.Millisecond})
	if err != nil {
		return clientv3.Config{}, nil, err
	}
	return cluster.ClientConfig(), cluster.Close, nil
}
