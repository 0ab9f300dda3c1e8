package embedded_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gotenure/tenure/embedded"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// childVariable makes the test binary run one of children instead of the tests, for what cannot be seen, or not be
// cleaned up, inside of a process.
const childVariable = "TENURE_EMBEDDED_TEST_CHILD"

var children = map[string]func(ctx context.Context) error{
	"silence": useClusterInSilence,
	"damage":  startWithDamagedLog,
}

func TestMain(m *testing.M) {
	if child, ok := children[os.Getenv(childVariable)]; ok {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := child(ctx); err != nil {
			fmt.Print(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// runChild runs one of children as a process of its own and returns all that it has printed.
func runChild(t *testing.T, name string) (output string, err error) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	child := exec.CommandContext(within(t), program)
	child.Env = append(os.Environ(), childVariable+"="+name)
	text, err := child.CombinedOutput()
	return string(text), err
}

// fast is a Config for tests, changed by adjust.
func fast(adjust ...func(*embedded.Config)) embedded.Config {
	cfg := embedded.Config{NoFsync: true, Tick: 10 * time.Millisecond}
	for _, a := range adjust {
		a(&cfg)
	}
	return cfg
}

func members(n int) func(*embedded.Config) { return func(c *embedded.Config) { c.Members = n } }

func in(dir string) func(*embedded.Config) { return func(c *embedded.Config) { c.Dir = dir } }

// within bounds what a test waits for: long enough for a slow machine, short enough to show what hangs.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// start starts a cluster that is closed at the end of the test.
func start(t *testing.T, adjust ...func(*embedded.Config)) *embedded.Cluster {
	t.Helper()
	cluster, err := embedded.Start(within(t), fast(adjust...))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	return cluster
}

// putAndGet makes sure that the client can write and read.
func putAndGet(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx := within(t)
	key := fmt.Sprintf("key-%d", time.Now().UnixNano())
	_, err := client.Put(ctx, key, "value")
	require.NoError(t, err)
	resp, err := client.Get(ctx, key)
	require.NoError(t, err)
	require.Len(t, resp.Kvs, 1)
	require.Equal(t, "value", string(resp.Kvs[0].Value))
}

// newClient returns a client with this configuration that is closed at the end of the test.
func newClient(t *testing.T, cfg clientv3.Config) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// leavesNothing runs f and makes sure that no goroutine of it is left.
func leavesNothing(t *testing.T, f func()) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	f()
	goleak.VerifyNone(t, before)
}

// tree lists all files and folders under dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	}))
	return names
}

// logSpy is a logger that hands every message to a function, which may be called concurrently.
func logSpy(see func(logger, message string)) *zap.Logger {
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(io.Discard), zapcore.DebugLevel)
	return zap.New(core, zap.Hooks(func(e zapcore.Entry) error {
		see(e.LoggerName, e.Message)
		return nil
	}))
}

// logged collects what a logSpy sees.
type logged struct {
	mu       sync.Mutex
	messages map[string][]string // by logger
}

func (l *logged) see(logger, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.messages == nil {
		l.messages = map[string][]string{}
	}
	l.messages[logger] = append(l.messages[logger], message)
}

func (l *logged) by(logger string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.messages[logger]
}
