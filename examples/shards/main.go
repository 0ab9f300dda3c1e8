// Shards shows how workers share shards: one begins alone, others come, one leaves in good order, one is cut off without
// a word, and after each step a table says who has what. No shard is ever worked on twice; the program checks that.
//
//	go run ./examples/shards
//	go run ./examples/shards --endpoints http://10.0.0.1:2379,http://10.0.0.2:2379
//
// What to read first: worker.go is a program that takes part. This file decides what happens when.
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

const (
	shardCount = 12
	ttl        = 2 * time.Second
	patience   = time.Minute // with each step
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case ctx.Err() != nil:
		fmt.Println("\nInterrupted.")
	case err != nil:
		fmt.Fprintln(os.Stderr, "shards:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("shards", flag.ContinueOnError)
	list := flags.String("endpoints", "", "comma-separated `addresses` of an etcd; without, one is started in this program")
	if err := flags.Parse(args); err != nil {
		return err
	}
	connect, stop, err := connection(ctx, *list)
	if err != nil {
		return err
	}
	defer stop()
	observer, err := connect()
	if err != nil {
		return err
	}
	defer observer.Close()
	p := newPool(out, observer, connect)
	defer p.dismiss()
	if err := show(ctx, p); err != nil {
		return err
	}
	return p.verdict()
}

// connection returns what makes clients, and what ends the etcd if it is one of this program's own.
func connection(ctx context.Context, endpoints string) (connect func() (*clientv3.Client, error), stop func(), err error) {
	if endpoints != "" {
		cfg, err := tenure.ClientConfig(strings.Split(endpoints, ","))
		return func() (*clientv3.Client, error) { return clientv3.New(cfg) }, func() {}, err
	}
	cluster, err := embedded.Start(ctx, embedded.Config{NoFsync: true, Tick: 10 * time.Millisecond, ElectionTimeout: 100 * time.Millisecond})
	if err != nil {
		return nil, nil, err
	}
	return cluster.NewClient, func() { _ = cluster.Close() }, nil
}

// show is the story.
func show(ctx context.Context, p *pool) error {
	for _, step := range []struct {
		says string
		do   func() error
		then []string // who shares the shards after it
	}{
		{"anna is alone: she has all shards", func() error { return p.hire(ctx, "anna") }, []string{"anna"}},
		{"ben comes: half of them move, each when its work has returned", func() error { return p.hire(ctx, "ben") }, []string{"anna", "ben"}},
		{"carl comes", func() error { return p.hire(ctx, "carl") }, []string{"anna", "ben", "carl"}},
		{"anna, who led, leaves: only her shards move", func() error { return p.leave("anna") }, []string{"ben", "carl"}},
		{"dora comes", func() error { return p.hire(ctx, "dora") }, []string{"ben", "carl", "dora"}},
		{"ben is cut off: his work is told in time, then others have his shards", func() error { p.cutOff("ben"); return nil }, []string{"carl", "dora"}},
	} {
		fmt.Fprintf(p.out, "\n%s\n", step.says)
		if err := step.do(); err != nil {
			return err
		}
		if err := p.shared(ctx, step.then); err != nil {
			return fmt.Errorf("%s: %w", step.says, err)
		}
	}
	return nil
}
