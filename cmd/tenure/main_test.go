//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/embedded"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// asTool makes the test binary be the tool. The name of one of programs as its first argument makes it be that.
const asTool = "TENURE_TEST_AS_TOOL"

var cluster *embedded.Cluster

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if program, ok := programs[os.Args[1]]; ok {
			os.Exit(program(os.Args[2:]))
		}
	}
	if os.Getenv(asTool) != "" {
		os.Exit(run(os.Args[1:]))
	}
	var err error
	cluster, err = embedded.Start(context.Background(), fast())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := cluster.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func fast() embedded.Config {
	return embedded.Config{NoFsync: true, Tick: 10 * time.Millisecond, ElectionTimeout: 100 * time.Millisecond}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A tool is the tool at work as a process of its own.
type tool struct {
	t       *testing.T
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	stderr  strings.Builder
	exactly string // what is left of stdout when the tool has ended
}

// launch runs the tool on the given cluster's endpoints. "SELF" in args becomes the path of this binary.
func launch(t *testing.T, c *embedded.Cluster, args ...string) *tool {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	for i := range args {
		if args[i] == "SELF" {
			args[i] = self
		}
	}
	tool := &tool{t: t, cmd: exec.CommandContext(within(t), self, args...)}
	// The race detector would have every process wait for a second before it exits.
	tool.cmd.Env = append(os.Environ(), asTool+"=1", "GORACE=atexit_sleep_ms=0")
	if c != nil {
		tool.cmd.Env = append(tool.cmd.Env, "TENURE_ENDPOINTS="+strings.Join(c.Endpoints(), ","))
	}
	tool.cmd.Stderr = &tool.stderr
	tool.cmd.WaitDelay = 5 * time.Second
	tool.stdin, err = tool.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := tool.cmd.StdoutPipe()
	require.NoError(t, err)
	tool.stdout = bufio.NewReader(out)
	require.NoError(t, tool.cmd.Start())
	return tool
}

// line waits for the next line of what the tool and its program print.
func (tool *tool) line() string {
	tool.t.Helper()
	line, err := tool.stdout.ReadString('\n')
	require.NoError(tool.t, err, "after %q; stderr: %s", line, &tool.stderr)
	return strings.TrimSuffix(line, "\n")
}

func (tool *tool) say(line string) {
	tool.t.Helper()
	_, err := io.WriteString(tool.stdin, line+"\n")
	require.NoError(tool.t, err)
}

func (tool *tool) signal(sig syscall.Signal) {
	tool.t.Helper()
	require.NoError(tool.t, tool.cmd.Process.Signal(sig))
}

// code waits until nobody holds the output any more, neither the tool nor anything that it has started, and returns
// the tool's exit code.
func (tool *tool) code() int {
	tool.t.Helper()
	rest, err := io.ReadAll(tool.stdout)
	require.NoError(tool.t, err)
	tool.exactly = string(rest)
	err = tool.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	require.NoError(tool.t, err)
	return 0
}

// complaint is the one line on stderr.
func (tool *tool) complaint() string {
	tool.t.Helper()
	text := tool.stderr.String()
	require.True(tool.t, strings.HasPrefix(text, "tenure: "), text)
	require.Equal(tool.t, 1, strings.Count(text, "\n"), text)
	return strings.TrimSpace(text)
}

// member is a session of this process.
func member(t *testing.T, opts ...session.Option) *session.Session {
	t.Helper()
	s, err := session.New(within(t), cluster.Client(), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close(within(t))) })
	return s
}

// awaitQueue waits until n keys stand in a lock's queue and returns them.
func awaitQueue(t *testing.T, m *lock.Mutex, n int) []lock.Entry {
	t.Helper()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	changes := cluster.Client().Watch(ctx, m.Prefix(), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	for {
		_, open := <-changes
		require.True(t, open, "%d were awaited", n)
		queue, err := m.Queue(ctx)
		require.NoError(t, err)
		if len(queue) == n {
			return queue
		}
	}
}
