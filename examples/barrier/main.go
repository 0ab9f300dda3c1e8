// Barrier shows phases of work that several processes do together: four workers count the words of a text, chapter by
// chapter. All begin a chapter together and end it together; then one of them merges what all have counted. In the
// second chapter one worker dies. The others are told who it was, and do the chapter again without it.
//
//	go run ./examples/barrier
//	go run ./examples/barrier --endpoints http://10.0.0.1:2379,http://10.0.0.2:2379
//
// What to read first: worker.go is the program that each worker is.
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
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/barrier"
	"github.com/gotenure/tenure/embedded"
	"github.com/gotenure/tenure/session"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "barrier:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("barrier", flag.ContinueOnError)
	list := flags.String("endpoints", "", "comma-separated `addresses` of an etcd; without, one is started in this program")
	ttl := flags.Duration("ttl", 2*time.Second, "the workers' leases' time to live, in whole seconds")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dial, closeEtcd, err := connect(ctx, *list)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeEtcd()) }()

	s, closeSession, err := open(ctx, dial, "coordinator", *ttl)
	if err != nil {
		return err
	}
	defer closeSession()
	job := &job{
		// Names of this run: another one may use the same etcd.
		name: fmt.Sprintf("words-%d", time.Now().UnixNano()),
		dial: dial,
		ttl:  *ttl,
		say:  teller(out),
	}
	return job.coordinate(ctx, s)
}

// coordinate starts the workers, waits for the last chapter and compares what they have counted with the truth.
func (j *job) coordinate(ctx context.Context, s *session.Session) (err error) {
	start := barrier.New(s, j.name+" may begin")
	if err := start.Hold(ctx); err != nil {
		return err
	}
	done := barrier.NewLatch(s, j.name+" is done")
	if err := done.Set(ctx, len(chapters)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.tidyUp(s, done)) }()

	ctx, cancel := context.WithCancel(ctx)
	errs := make(chan error, len(team))
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	for _, name := range team {
		workers.Go(func() {
			if err := j.work(ctx, name); err != nil {
				errs <- fmt.Errorf("%s: %w", name, err)
				cancel()
			}
		})
	}

	j.say("coordinator", "%d workers wait for the start", len(team))
	if err := start.Release(ctx); err != nil {
		return err
	}
	if err := done.Wait(ctx); err != nil {
		select {
		case failed := <-errs:
			return failed
		default:
			return err
		}
	}
	total, err := j.read(ctx, s.Client(), "total/")
	if err != nil {
		return err
	}
	if truth := count(strings.Join(chapters, " "), 0, 1); !equal(total, truth) {
		return fmt.Errorf("the workers counted %v, and it is %v", total, truth)
	}
	j.say("coordinator", "all %d chapters are counted, and the sum is right:", len(chapters))
	for _, line := range mostFrequent(total, 5) {
		j.say("", "  %s", line)
	}
	return nil
}

// tidyUp removes what is not on a lease.
func (j *job) tidyUp(s *session.Session, done *barrier.Latch) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	_, err := s.Client().Delete(ctx, j.key(""), clientv3.WithPrefix())
	return errors.Join(err, done.Remove(ctx))
}

const closeTime = 5 * time.Second

// connect returns what makes clients of the etcd at the endpoints or, if there are none, of one inside this program.
func connect(ctx context.Context, list string) (dial func() (*clientv3.Client, error), close func() error, err error) {
	if list != "" {
		cfg, err := tenure.ClientConfig(strings.Split(list, ","))
		if err != nil {
			return nil, nil, err
		}
		return func() (*clientv3.Client, error) { return clientv3.New(cfg) }, func() error { return nil }, nil
	}
	cluster, err := embedded.Start(ctx, embedded.Config{NoFsync: true, Tick: 10 * time.Millisecond})
	if err != nil {
		return nil, nil, err
	}
	return func() (*clientv3.Client, error) { return clientv3.New(cluster.ClientConfig()) }, cluster.Close, nil
}

// open opens a session on a client of its own.
func open(ctx context.Context, dial func() (*clientv3.Client, error), name string, ttl time.Duration) (*session.Session, func(), error) {
	client, err := dial()
	if err != nil {
		return nil, nil, err
	}
	s, err := session.New(ctx, client, session.WithName(name), session.WithTTL(ttl))
	if err != nil {
		return nil, nil, errors.Join(err, client.Close())
	}
	return s, func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		_ = s.Close(ctx) // what it could not give back runs out with the lease
		_ = client.Close()
	}, nil
}

// teller returns what prints a line with the time; any number of goroutines may call it.
func teller(out io.Writer) func(who, format string, args ...any) {
	var mu sync.Mutex
	start := time.Now()
	return func(who, format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, "%6.2f  %-11s  %s\n", time.Since(start).Seconds(), who, fmt.Sprintf(format, args...))
	}
}
