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
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/internal/clock"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// The test binary runs itself as a process that holds a lock.
const (
	endpointsVariable = "TENURE_CHAOS_ENDPOINTS"
	nameVariable      = "TENURE_CHAOS_LOCK"
	ttl               = 2 * time.Second
)

func TestMain(m *testing.M) {
	if endpoints := os.Getenv(endpointsVariable); endpoints != "" {
		if os.Getenv(jobsVariable) != "" {
			if err := doJobs(strings.Split(endpoints, ","), os.Getenv(nameVariable)); err != nil {
				fmt.Println("failed:", err)
				os.Exit(1)
			}
			return
		}
		if err := hold(strings.Split(endpoints, ","), os.Getenv(nameVariable)); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		return
	}
	harness.Main(m, 1, 3)
}

// hold locks and then looks at the clock and at Valid, in turns, as fast as it
// can. When the clock has jumped by more than the TTL, the process was stopped,
// and the very next look at Valid is the first thing that it does.
func hold(endpoints []string, name string) error {
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
	held, err := lock.NewMutex(s, name).Lock(context.Background())
	if err != nil {
		return err
	}
	fmt.Println("held", held.Token())
	before := clock.System.Now()
	for {
		now := clock.System.Now()
		valid := held.Valid()
		if now-before > ttl {
			fmt.Println("stopped", valid)
			break
		}
		before = now
	}
	<-held.Context().Done()
	fmt.Println("told", context.Cause(held.Context()))
	if held.Valid() {
		return fmt.Errorf("valid again")
	}
	return s.Close(context.Background())
}

// A holder is such a process.
type holder struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startHolder(t *testing.T, c *harness.Cluster, name string) *holder {
	t.Helper()
	h := &holder{cmd: exec.Command(os.Args[0])}
	h.cmd.Env = append(os.Environ(),
		endpointsVariable+"="+strings.Join(c.Endpoints(), ","), nameVariable+"="+name)
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
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		stopped := startHolder(t, c, name)
		stopped.says(t, "held")
		require.NoError(t, stopped.cmd.Process.Signal(syscall.SIGSTOP))

		next, err := lock.NewMutex(c.Session(t), name).Lock(harness.Context(t))
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

func TestTheLockOfAKilledProcessPassesOn(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		killed := startHolder(t, c, name)
		var token int64
		_, err := fmt.Sscan(killed.says(t, "held"), &token)
		require.NoError(t, err)
		require.NoError(t, killed.cmd.Process.Kill())

		next, err := lock.NewMutex(c.Session(t), name).Lock(harness.Context(t))
		require.NoError(t, err)
		require.Greater(t, next.Token(), token)
		require.NoError(t, next.Unlock(harness.Context(t)))
	})
}
