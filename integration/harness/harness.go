// Package harness gives the tests real etcd clusters and clients whose calls
// can be made to fail.
package harness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/gotenure/tenure/embedded"
	"github.com/gotenure/tenure/session"
)

// Patience is how long a test waits for something that must happen. It is a
// bound against hanging, not a measurement.
var Patience = 30 * time.Second

func init() {
	flag.DurationVar(&Patience, "patience", Patience, "how long a test waits for something that must happen")
}

var only = flag.Int("members", 0, "run only the tests on a cluster of so many members")

// clusters are those of the package under test, by their number of members.
var clusters = map[int]*embedded.Cluster{}

// Main is the TestMain of a package: it starts a cluster of each size, runs the
// tests, and fails if a goroutine is left when the clusters are closed.
func Main(m *testing.M, sizes ...int) {
	flag.Parse()
	if *only > 0 {
		sizes = []int{*only}
	}
	code, err := run(m, sizes)
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, sizes []int) (code int, err error) {
	for _, size := range sizes {
		cluster, err := embedded.Start(context.Background(), Config(size))
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, cluster.Close()) }()
		clusters[size] = cluster
	}
	return m.Run(), nil
}

// Goroutines returns the stacks of the goroutines that run or were started by
// the library itself, its tests aside.
func Goroutines() []string {
	all := make([]byte, 16<<20)
	all = all[:runtime.Stack(all, true)]
	var ours []string
	for stack := range strings.SplitSeq(string(all), "\n\n") {
		if library.MatchString(stack) {
			ours = append(ours, stack)
		}
	}
	return ours
}

var library = regexp.MustCompile(`gotenure/tenure/(session|lock|election|barrier|config|leaderworker|internal/)`)

// Config is a cluster for tests: quick elections and no fsync.
func Config(members int) embedded.Config {
	return embedded.Config{
		Members:         members,
		Tick:            10 * time.Millisecond,
		ElectionTimeout: 100 * time.Millisecond,
		NoFsync:         true,
	}
}

// EachSize runs a test on each of the package's clusters.
func EachSize(t *testing.T, test func(t *testing.T, c *Cluster)) {
	t.Helper()
	for size, cluster := range clusters {
		name := "one member"
		if size > 1 {
			name = fmt.Sprintf("%d members", size)
		}
		t.Run(name, func(t *testing.T) { test(t, &Cluster{Cluster: cluster}) })
	}
}

// OneMember runs a test on the cluster of one member only, because it is not
// about how members agree.
func OneMember(t *testing.T, test func(c *Cluster)) {
	t.Helper()
	test(&Cluster{Cluster: clusters[1]})
}

// A Cluster is a running etcd cluster that tests share.
type Cluster struct{ *embedded.Cluster }

var names atomic.Int64

// Name returns a name that no other test uses.
func Name(t *testing.T) string {
	return fmt.Sprintf("%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), names.Add(1))
}

// Dial returns a client of its own connection, and the switch for its faults.
func (c *Cluster) Dial(t *testing.T) (*clientv3.Client, *Faults) {
	t.Helper()
	faults := &Faults{}
	cfg := c.ClientConfig()
	cfg.DialOptions = append(cfg.DialOptions, faults.dialOptions()...)
	client, err := clientv3.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	return client, faults
}

// Session returns a session on a client of its own.
func (c *Cluster) Session(t *testing.T, opts ...session.Option) *session.Session {
	t.Helper()
	client, _ := c.Dial(t)
	return c.SessionOn(t, client, opts...)
}

// SessionOn returns a session on a client. It is closed with the test.
func (c *Cluster) SessionOn(t *testing.T, client *clientv3.Client, opts ...session.Option) *session.Session {
	t.Helper()
	ctx := Context(t)
	s, err := session.New(ctx, client, opts...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		s.Close(ctx) //nolint:errcheck // tests of Close look at its error themselves
	})
	return s
}

// Context ends when the test has lasted too long.
func Context(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Keys returns the keys below a prefix, by a linearizable read.
func (c *Cluster) Keys(t *testing.T, prefix string) []string {
	t.Helper()
	resp, err := c.Client().Get(Context(t), prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	require.NoError(t, err)
	keys := []string{}
	for _, kv := range resp.Kvs {
		keys = append(keys, string(kv.Key))
	}
	return keys
}

// AwaitKeys waits until there are n keys below a prefix.
func (c *Cluster) AwaitKeys(t *testing.T, prefix string, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(Context(t))
	defer cancel()
	changes := c.Client().Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	for range changes {
		if len(c.Keys(t, prefix)) == n {
			return
		}
	}
	require.FailNow(t, "the keys did not come", "want %d below %s, have %v", n, prefix, c.Keys(t, prefix))
}

// Ended waits until a context has ended and returns its cause.
func Ended(t *testing.T, ctx context.Context) error {
	t.Helper()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(Patience):
		require.FailNow(t, "the context did not end")
		return nil
	}
}

// Got waits for a value on a channel.
func Got[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(Patience):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}
