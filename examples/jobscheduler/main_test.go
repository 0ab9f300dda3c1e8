package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
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
	requireNoLease(t, cluster)
}

func requireNoLease(t *testing.T, cluster *embedded.Cluster) {
	leases, err := cluster.Client().Leases(t.Context())
	require.NoError(t, err)
	require.Empty(t, leases.Leases)
}

func quick(cluster *embedded.Cluster) settings {
	return settings{endpoints: cluster.Endpoints(), duration: 5 * time.Second, ttl: time.Second}
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

func TestTheShowEndsByItselfWithItsProofAndLeavesNothing(t *testing.T) {
	t.Parallel()
	cluster := startEtcd(t)
	var out bytes.Buffer
	require.NoError(t, show(t.Context(), quick(cluster), &out), "%s", &out)
	requireInOrder(t, out.String(),
		"report: {every: 1s",
		"three nodes have started", "OWNS SHARDS", "leads",
		"IS CUT OFF", "STOPS ITS WORK by itself", "another one leads", "CUT OFF",
		"IS MENDED", "has a part of the shards again",
		"THE JOBS CHANGE", "cleanup: {every: 2s", "has the new jobs",
		"node-4  JOINS", "no more moved than that",
		"time is up",
		"Who has done what",
		"ok      every tick was claimed once",
		"ok      no tick was left out",
		"ok      every task was done once, or is accounted for",
		"still in the queue: 0",
		"ok      no shard had two owners",
		"ok      nothing was worked on by two nodes at a time",
	)
	require.Contains(t, out.String(), "REFUSED by etcd")
	require.Contains(t, out.String(), "ran job cleanup")
	require.NotContains(t, out.String(), "FAILED")
	require.NotContains(t, out.String(), "ended too early")
	require.NotContains(t, out.String(), "\x1b", "it is no terminal")
	requireNothingLeft(t, cluster)
}

// A telltale is a writer that tells when a text was written.
type telltale struct {
	mu   sync.Mutex
	all  bytes.Buffer
	text string
	seen context.CancelFunc
}

func (s *telltale) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Contains(p, []byte(s.text)) {
		s.seen()
	}
	return s.all.Write(p)
}

func (s *telltale) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

func TestAnInterruptionEndsInGoodOrderEvenWhileANodeIsCutOff(t *testing.T) {
	t.Parallel()
	cluster := startEtcd(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &telltale{text: "IS CUT OFF", seen: cancel}
	require.NoError(t, show(ctx, quick(cluster), out), "%s", out)
	requireInOrder(t, out.String(), "IS CUT OFF", "interrupted", "The proof", "ended too early")
	require.NotContains(t, out.String(), "FAILED")
	requireNothingLeft(t, cluster)
}

func TestAnEtcdOfItsOwnNeedsNoFlags(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &telltale{text: "ran job report", seen: cancel}
	var errs bytes.Buffer
	require.Zero(t, run(ctx, nil, out, &errs))
	requireInOrder(t, out.String(), "an etcd inside this program", "In the next 15s", "ran job report", "interrupted")
	require.Empty(t, errs.String())
}

func TestNodesOfTheirOwnMeetInOneEtcd(t *testing.T) {
	t.Parallel()
	cluster := startEtcd(t)
	node := func(name, until string) (*telltale, context.Context, chan int) {
		ctx, seen := context.WithCancel(t.Context())
		t.Cleanup(seen)
		out, code := &telltale{text: until, seen: seen}, make(chan int, 1)
		go func() {
			code <- run(ctx, []string{"--endpoints", strings.Join(cluster.Endpoints(), ","), "--node", name, "--ttl", "1s"}, out, io.Discard)
		}()
		return out, ctx, code
	}
	anna, annaSaw, annaCode := node("anna", "ben") // in the table: it has seen the other one
	ben, _, benCode := node("ben", "ran job")
	require.Zero(t, <-annaCode)
	require.Error(t, annaSaw.Err())
	require.Zero(t, <-benCode)
	require.Contains(t, anna.String(), "(another process)")
	require.Contains(t, ben.String(), "ran job")
	requireNoLease(t, cluster)
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
		{"a document that is not there", t.Context(), []string{"--endpoints", "x", "--node", "a", "--jobs", "/nowhere"}, 1},
		{"a flag that is not", t.Context(), []string{"--nodes", "7"}, 2},
		{"an argument", t.Context(), []string{"now"}, 2},
		{"no time", t.Context(), []string{"--duration", "0s"}, 2},
		{"too much time", t.Context(), []string{"--duration", "1h"}, 2},
		{"a node without an etcd", t.Context(), []string{"--node", "anna"}, 2},
		{"a document without a node", t.Context(), []string{"--jobs", "jobs.yaml"}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.code, run(test.ctx, test.args, io.Discard, io.Discard))
		})
	}
}
