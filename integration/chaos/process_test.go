// Package chaos does to real processes and clusters what happens to them: it
// stops, kills and cuts them off.
package chaos

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/election"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/internal/clock"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// The test binary runs itself as a process that holds a lock.
const (
	endpointsVariable = "TENURE_CHAOS_ENDPOINTS"
	nameVariable      = "TENURE_CHAOS_NAME"
	kindVariable      = "TENURE_CHAOS_KIND"
	ttl               = 2 * time.Second
)

type acquires func(s *session.Session, name string) func(context.Context) (*lock.Held, error)

// kinds are what such a process can hold. Two of one kind do not go together,
// but for readers; nor do a reader and a writer.
var kinds = map[string]acquires{
	"mutex": func(s *session.Session, name string) func(context.Context) (*lock.Held, error) {
		return lock.NewMutex(s, name).Lock
	},
	"writer": func(s *session.Session, name string) func(context.Context) (*lock.Held, error) {
		return lock.NewRWMutex(s, name).Lock
	},
	"reader": func(s *session.Session, name string) func(context.Context) (*lock.Held, error) {
		return lock.NewRWMutex(s, name).RLock
	},
	"permits": func(s *session.Session, name string) func(context.Context) (*lock.Held, error) {
		sem := lock.NewSemaphore(s, name, 3)
		return func(ctx context.Context) (*lock.Held, error) { return sem.Acquire(ctx, 2) }
	},
}

// eachKind runs a test for each kind of lock, on one member and on three. then
// is what must wait for a process of that kind.
func eachKind(t *testing.T, test func(t *testing.T, c *harness.Cluster, kind string, then acquires)) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		for kind, next := range map[string]string{"mutex": "mutex", "writer": "reader", "reader": "writer", "permits": "permits"} {
			t.Run(kind, func(t *testing.T) {
				t.Parallel() // most of it is waiting
				test(t, c, kind, kinds[next])
			})
		}
	})
}

func TestMain(m *testing.M) {
	if endpoints := os.Getenv(endpointsVariable); endpoints != "" {
		act := hold
		switch pool := os.Getenv(poolVariable); {
		case pool != "":
			act = func(endpoints []string) error { return labour(endpoints, pool, os.Getenv(workerVariable)) }
		case os.Getenv(jobsVariable) != "":
			act = func(endpoints []string) error { return doJobs(endpoints, os.Getenv(nameVariable)) }
		}
		if err := act(strings.Split(endpoints, ",")); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		return
	}
	harness.Main(m, 1, 3)
}

// hold locks or leads, and then looks at the clock and at Valid, in turns, as
// fast as it can. When the clock has jumped, the process was stopped, and the
// very next look at Valid is the first thing that it does.
func hold(endpoints []string) error {
	cfg, err := tenure.ClientConfig(endpoints)
	if err != nil {
		return err
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	s, err := session.New(context.Background(), client, session.WithTTL(ttl))
	if err != nil {
		return err
	}
	held, err := acquire(s, os.Getenv(kindVariable), os.Getenv(nameVariable))
	if err != nil {
		return err
	}
	fmt.Println("held", held.Token())
	wrong := false // it was taken for valid after more than a TTL in which nothing ran here
	before := clock.System.Now()
	for valid := true; valid; {
		now := clock.System.Now()
		valid = held.Valid()
		wrong = wrong || valid && now-before > ttl
		before = now
	}
	fmt.Println("stopped", wrong)
	<-held.Context().Done()
	fmt.Println("told", context.Cause(held.Context()))
	if held.Valid() {
		return fmt.Errorf("valid again")
	}
	return s.Close(context.Background())
}

// A handle is that of a lock or a term.
type handle interface {
	Context() context.Context
	Token() int64
	Valid() bool
}

// leading is the kind of a process that stands in an election.
const leading = "leader"

func acquire(s *session.Session, kind, name string) (handle, error) {
	if kind == leading {
		return election.New(s, name, election.WithValue([]byte("process"))).Campaign(context.Background())
	}
	return kinds[kind](s, name)(context.Background())
}

// A holder is such a process.
type holder struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startHolder(t *testing.T, c *harness.Cluster, kind, name string) *holder {
	t.Helper()
	h := &holder{cmd: exec.Command(os.Args[0])}
	h.cmd.Env = append(os.Environ(),
		endpointsVariable+"="+strings.Join(c.Endpoints(), ","), nameVariable+"="+name, kindVariable+"="+kind)
	h.cmd.Stderr = os.Stderr
	out, err := h.cmd.StdoutPipe()
	require.NoError(t, err)
	h.lines = bufio.NewScanner(out)
	require.NoError(t, h.cmd.Start())
	t.Cleanup(func() {
		_ = h.cmd.Process.Kill() // it may have ended
		_ = h.cmd.Wait()
	})
	return h
}

// says reads the process's next line, which must begin with a word.
func (h *holder) says(t *testing.T, word string) string {
	t.Helper()
	line := make(chan string, 1)
	go func() {
		h.lines.Scan()
		line <- h.lines.Text()
	}()
	said := harness.Got(t, line)
	rest, ok := strings.CutPrefix(said, word+" ")
	require.True(t, ok, "it said %q", said)
	return rest
}

func TestAProcessThatWasStoppedPastItsTTLKnowsAtItsFirstInstruction(t *testing.T) {
	eachKind(t, func(t *testing.T, c *harness.Cluster, kind string, then acquires) {
		name := harness.Name(t)
		stopped := startHolder(t, c, kind, name)
		stopped.says(t, "held")
		require.NoError(t, stopped.cmd.Process.Signal(syscall.SIGSTOP))

		next, err := then(c.Session(t), name)(harness.Context(t))
		require.NoError(t, err, "etcd has let the lease run out")
		require.True(t, next.Valid())

		require.NoError(t, stopped.cmd.Process.Signal(syscall.SIGCONT))
		require.Equal(t, "false", stopped.says(t, "stopped"))
		require.Contains(t, stopped.says(t, "told"), "lock: lost")
		require.NoError(t, stopped.cmd.Wait())
		require.True(t, next.Valid())
		require.NoError(t, next.Unlock(harness.Context(t)))
	})
}

func TestWhatAKilledProcessHeldPassesOn(t *testing.T) {
	eachKind(t, func(t *testing.T, c *harness.Cluster, kind string, then acquires) {
		name := harness.Name(t)
		killed := startHolder(t, c, kind, name)
		var token int64
		_, err := fmt.Sscan(killed.says(t, "held"), &token)
		require.NoError(t, err)
		require.NoError(t, killed.cmd.Process.Kill())

		next, err := then(c.Session(t), name)(harness.Context(t))
		require.NoError(t, err)
		require.Greater(t, next.Token(), token)
		require.NoError(t, next.Unlock(harness.Context(t)))
	})
}
