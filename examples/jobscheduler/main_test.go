package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gotenure/tenure/embedded"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startEtcd stands for a real etcd: the test can look into it afterwards.
func startEtcd(t *testing.T) *embedded.Cluster {
	cluster, err := embedded.Start(t.Context(), embedded.Config{NoFsync: true, Tick: 10 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	return cluster
}

func requireNothingLeft(t *testing.T, cluster *embedded.Cluster) {
	resp, err := cluster.Client().Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	require.NoError(t, err)
	require.Empty(t, resp.Kvs)
	leases, err := cluster.Client().Leases(t.Context())
	require.NoError(t, err)
	require.Empty(t, leases.Leases)
}

func quick(cluster *embedded.Cluster) config {
	return config{endpoints: cluster.Endpoints(), duration: 3 * time.Second, ttl: time.Second, period: 100 * time.Millisecond}
}

// requireInOrder checks that the texts occur one after the other.
func requireInOrder(t *testing.T, output string, texts ...string) {
	rest := output
	for _, text := range texts {
		_, after, found := strings.Cut(rest, text)
		require.Truef(t, found, "%q is missing, or comes too early, in\n%s", text, output)
		rest = after
	}
}

func TestTheLockPassesOnAndTheCutNodeComesBackAsTheLast(t *testing.T) {
	t.Parallel()
	cluster := startEtcd(t)
	var out bytes.Buffer
	require.NoError(t, show(t.Context(), quick(cluster), &out))
	requireInOrder(t, out.String(),
		"What is going to happen:",
		"HOLDS THE LOCK", "ran tick 1 ",
		"IS CUT OFF",
		"LOST THE LOCK", "no renewal of its lease was answered in time",
		"HOLDS THE LOCK", "after the cut", "had stopped", "ran tick",
		"is mended",
		"1. node-", "holds", "2. node-", "waits", "3. node-", "waits",
		"time is up",
		"read back from etcd",
		"ok      each tick was run by at most one node",
		"ok      each new holder had a larger token (holders: 2)",
		"ok      what a node saw confirmed is in etcd",
		"had stopped before",
		"The handover from node-", "from the last run before to the first run after",
		"tenure queue nightly-report")
	require.Contains(t, out.String(), "is back, with a new lease")
	require.Contains(t, out.String(), "REFUSED by etcd, the lock has passed on")
	require.NotContains(t, out.String(), "FAILED")
	requireNothingLeft(t, cluster)
}

// interrupter ends a context when a text is written.
type interrupter struct {
	io.Writer
	text      string
	interrupt context.CancelFunc
}

func (i *interrupter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(i.text)) {
		i.interrupt()
	}
	return i.Writer.Write(p)
}

func TestAnInterruptionEndsInGoodOrderEvenWhileANodeIsCutOff(t *testing.T) {
	t.Parallel()
	cluster := startEtcd(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	require.NoError(t, show(ctx, quick(cluster), &interrupter{&out, "IS CUT OFF", cancel}))
	requireInOrder(t, out.String(), "IS CUT OFF", "interrupted", "read back from etcd", "No handover was seen")
	require.NotContains(t, out.String(), "FAILED")
	requireNothingLeft(t, cluster)
}

func TestAnEtcdOfItsOwnNeedsNoFlags(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs bytes.Buffer
	require.Zero(t, run(ctx, nil, &interrupter{&out, "ran tick 1 ", cancel}, &errs))
	requireInOrder(t, out.String(), "Starting an etcd", "at 15.0 s  everything ends", "ran tick 1 ", "interrupted")
	require.Empty(t, errs.String())
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name string
		ctx  context.Context
		args []string
		code int
	}{
		{"help", t.Context(), []string{"-h"}, 0},
		{"an interruption before the start", ended, nil, 0},
		{"a TTL that no session takes", t.Context(), []string{"--ttl", "1ms"}, 1},
		{"an endpoint that cannot be", t.Context(), []string{"--endpoints", "http://"}, 1},
		{"a flag that is not", t.Context(), []string{"--nodes", "7"}, 2},
		{"an argument", t.Context(), []string{"now"}, 2},
		{"no time", t.Context(), []string{"--duration", "0s"}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.code, run(test.ctx, test.args, io.Discard, io.Discard))
		})
	}
}
