// Primer is a tour of etcd v3: what every user of Tenure should have seen once. It shows each operation with its
// request and its result, on an etcd inside of this program or, with --endpoints, on a real one.
//
//	go run ./examples/primer
//	go run ./examples/primer --endpoints http://10.0.0.1:2379,http://10.0.0.2:2379
//
// It takes some seconds, because leases expire in it, and leaves no keys behind.
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

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/embedded"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// leaseTTL is as short as an etcd with default settings grants.
	leaseTTL = 2 * time.Second
	// answerTime is how long a real etcd may take for its first answer.
	answerTime = 5 * time.Second
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with an exit code: 0 after the tour or Ctrl-C, 1 after an error, 2 after a wrong command line.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("primer", flag.ContinueOnError)
	flags.SetOutput(stderr)
	list := flags.String("endpoints", "", "comma-separated `addresses` of an etcd; without, one is started in this program")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "primer: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	var endpoints []string
	if *list != "" {
		endpoints = strings.Split(*list, ",")
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait for the cleaning up
	err := tourOf(ctx, stdout, endpoints)
	return end(err, ctx.Err() != nil, stdout, stderr)
}

// end says how the tour ended, unless it just did, and returns the exit code.
func end(err error, interrupted bool, stdout, stderr io.Writer) int {
	switch {
	case interrupted && !errors.Is(err, errLeftBehind):
		fmt.Fprintln(stdout, "\nInterrupted; the keys are deleted.")
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "primer: %v\n", err)
		return 1
	}
	return 0
}

// tourOf goes on tour with the etcd at endpoints, or with one of its own.
func tourOf(ctx context.Context, out io.Writer, endpoints []string) (err error) {
	if len(endpoints) > 0 {
		client, err := connect(ctx, endpoints)
		if err != nil {
			return err
		}
		defer client.Close()
		return newTour(client, out, leaseTTL).run(ctx)
	}
	fmt.Fprintln(out, "Starting an etcd inside of this program...")
	cluster, err := embedded.Start(ctx, embedded.Config{NoFsync: true, Tick: 10 * time.Millisecond})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	return newTour(cluster.Client(), out, leaseTTL).run(ctx)
}

// connect makes sure that there is an etcd: a client connects in the background and waits for ever.
func connect(ctx context.Context, endpoints []string) (*clientv3.Client, error) {
	cfg, err := tenure.ClientConfig(endpoints)
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if _, err := client.Get(ctx, "primer", clientv3.WithCountOnly()); err != nil {
		client.Close()
		return nil, fmt.Errorf("no answer from %s: %w", strings.Join(endpoints, ", "), err)
	}
	return client, nil
}
