// Hotreload shows configuration that reloads itself: an HTTPS server whose limit, log level and certificate change
// while requests run, without one of them failing.
//
//	go run ./examples/hotreload                                       the story, by itself, on an etcd inside
//	go run ./examples/hotreload --serve                               serve until Ctrl-C, and say how to change it
//	go run ./examples/hotreload --endpoints ADDRESS set level=DEBUG   change it, from a second terminal
//
// What to read first: settings.go is what can be changed, and server.go is a server that uses it. story.go makes a
// show of it.
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/embedded"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with an exit code: 0 if all was well, also after Ctrl-C; 1 after an error; 2 after a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("hotreload", flag.ContinueOnError)
	flags.SetOutput(stderr)
	list := flags.String("endpoints", "", "comma-separated `addresses` of an etcd; without, one is started in this program")
	serving := flags.Bool("serve", false, "serve until Ctrl-C, to be changed from another terminal")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	var act func(context.Context, *clientv3.Client, []string) error
	switch rest := flags.Args(); {
	case len(rest) == 2 && rest[0] == "set" && strings.Contains(rest[1], "=") && *list != "":
		act = func(ctx context.Context, client *clientv3.Client, _ []string) error {
			return set(ctx, client, rest[1], stdout)
		}
	case len(rest) > 0:
		fmt.Fprintln(stderr, "hotreload: want nothing, or: --endpoints ADDRESS set FIELD=VALUE")
		return 2
	case *serving:
		act = func(ctx context.Context, client *clientv3.Client, endpoints []string) error {
			return serve(ctx, client, endpoints, stdout)
		}
	default:
		act = func(ctx context.Context, client *clientv3.Client, _ []string) error { return tell(ctx, client, stdout) }
	}
	err := withEtcd(ctx, *list, act)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stdout, "\nInterrupted.")
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "hotreload: %v\n", err)
		return 1
	}
	return 0
}

// withEtcd connects to the etcd at endpoints or, if there are none, starts one inside this program.
func withEtcd(ctx context.Context, list string, act func(context.Context, *clientv3.Client, []string) error) (err error) {
	if list == "" {
		cluster, err := embedded.Start(ctx, embedded.Config{NoFsync: true, Tick: 10 * time.Millisecond})
		if err != nil {
			return err
		}
		return errors.Join(act(ctx, cluster.Client(), cluster.Endpoints()), cluster.Close())
	}
	endpoints := strings.Split(list, ",")
	cfg, err := tenure.ClientConfig(endpoints)
	if err != nil {
		return err
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return err
	}
	return errors.Join(act(ctx, client, endpoints), client.Close())
}

// serve runs the server until ctx ends.
func serve(ctx context.Context, client *clientv3.Client, endpoints []string, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "hotreload-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	first, err := makeCertificate(dir, "first", x509.NewCertPool())
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(out, nil))
	v, err := config.Watch[settings](ctx, client, name, config.WithLogger(log),
		config.WithDefaults(settings{MaxInFlight: 100, Certificate: first}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close(context.WithoutCancel(ctx))) }()
	s, err := startServer(v, out)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Serving %s. Change it from another terminal:\n\n", s.url())
	fmt.Fprintf(out, "  go run ./examples/hotreload --endpoints %s set level=DEBUG\n\n", strings.Join(endpoints, ","))
	<-ctx.Done()
	return s.close(context.WithoutCancel(ctx))
}

// set changes one field. The certificate is validated by the server, which knows its files.
func set(ctx context.Context, client *clientv3.Client, assignment string, out io.Writer) (err error) {
	field, value, _ := strings.Cut(assignment, "=")
	type unchecked settings // without Validate
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	v, err := config.Watch[unchecked](ctx, client, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close(ctx)) }()
	rev, err := v.Update(ctx, func(s *unchecked) error { return (*settings)(s).set(field, value) })
	if err == nil {
		fmt.Fprintf(out, "%s is %s as of revision %d\n", field, value, rev)
	}
	return err
}

// logCounter counts lines of a log.
type logCounter struct{ lines atomic.Int64 }

func (c *logCounter) Write(p []byte) (int, error) {
	c.lines.Add(1)
	return len(p), nil
}
