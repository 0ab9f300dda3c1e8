package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gotenure/tenure/embedded"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startEtcd starts an etcd that grants leases of one second.
func startEtcd(t *testing.T, members int) *embedded.Cluster {
	t.Helper()
	cluster, err := embedded.Start(t.Context(), embedded.Config{Members: members, NoFsync: true, Tick: 10 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	return cluster
}

// nothingLeft makes sure that nothing is left of a tour.
func nothingLeft(t *testing.T, client *clientv3.Client) {
	t.Helper()
	resp, err := client.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	require.NoError(t, err)
	require.Empty(t, resp.Kvs)
	leases, err := client.Leases(t.Context())
	require.NoError(t, err)
	require.Empty(t, leases.Leases)
}

func TestTheTourShowsEverything(t *testing.T) {
	t.Parallel()
	client := startEtcd(t, 1).Client()
	var out bytes.Buffer
	require.NoError(t, newTour(client, &out, time.Second).run(t.Context()))
	t.Log(out.String())

	// In this order, with anything in between. Nobody else writes, so that even the revisions are known.
	rest := out.String()
	for _, line := range []string{
		"1. Put and get",
		`> Put("greeting", "hello")`,
		"< revision 2",
		`> Get("greeting")`,
		`< greeting = "hello", created at revision 2, last changed at 2, version 1`,
		`< greeting = "good evening", created at revision 2, last changed at 3, version 2`,
		`> Get("farewell")`,
		"< no such key",
		"2. Delete",
		"< 1 deleted, revision 4",
		"< 0 deleted, revision 4",
		`< greeting = "hello again", created at revision 5, last changed at 5, version 1`,
		"3. Read by prefix",
		`> Get("servers/", with prefix)`,
		"< 3 keys at revision 9",
		`< servers/a = "up"`,
		`< servers/b = "up"`,
		`< servers/c = "up"`,
		"4. Delete by prefix",
		"< 3 deleted, revision 10",
		"< 0 keys at revision 10",
		"< 1 key at revision 10",
		"5. Watch a key",
		`> Put("door", "open")`,
		`* PUT door = "open" at revision 11`,
		`* PUT door = "closed" at revision 12`,
		"* DELETE door at revision 13",
		"6. Watch from a past revision",
		`> Put("lift", "second floor")`,
		`> Watch("lift", from revision 14)`,
		`* PUT lift = "ground floor" at revision 14`,
		`* PUT lift = "first floor" at revision 15`,
		`* PUT lift = "second floor" at revision 16`,
		"7. A transaction",
		"< succeeded: the seat is Ann's, revision 18",
		"< failed: the seat is Ann's since revision 18",
		`< seat = "Ann"`,
		"8. A key that expires with its lease",
		"> Grant(1 s)",
		"< a lease of 1 s",
		"* DELETE visitor at revision 20",
		"< no such key",
		"9. Revoking a lease",
		"> Revoke(the lease)",
		"* DELETE guest/",
		"at revision 23",
		"* DELETE guest/",
		"at revision 23",
		"10. Keeping a lease alive, and going offline",
		`* PUT online/worker-1 = "10.0.0.7" at revision 24`,
		"the worker is still online",
		`< online/worker-1 = "10.0.0.7", created at revision 24, last changed at 24, version 1`,
		"* DELETE online/worker-1 at revision 25",
		"worker-1 went offline",
	} {
		_, after, found := strings.Cut(rest, line)
		require.True(t, found, "%q does not come after what came before", line)
		rest = after
	}
	for line := range strings.Lines(out.String()) {
		require.LessOrEqual(t, len(line), 121, line)
	}
	nothingLeft(t, client)
}

func TestTwoToursDoNotMeet(t *testing.T) {
	client := startEtcd(t, 1).Client()
	first, second := newTour(client, io.Discard, time.Second), newTour(client, io.Discard, time.Second)
	require.NotEqual(t, first.prefix, second.prefix)
	_, err := first.put(t.Context(), "key", "value")
	require.NoError(t, err)
	require.NoError(t, second.cleanUp(t.Context()))
	require.NoError(t, first.get(t.Context(), "key"))
	resp, err := client.Get(t.Context(), first.key("key"))
	require.NoError(t, err)
	require.Len(t, resp.Kvs, 1)
}

func TestCtrlCEndsTheTourOfARealEtcdCleanly(t *testing.T) {
	cluster := startEtcd(t, 3)
	_, err := cluster.Client().Put(t.Context(), "somebody's", "key")
	require.NoError(t, err)
	self, err := os.FindProcess(os.Getpid())
	require.NoError(t, err)
	interrupt := func() { require.NoError(t, self.Signal(os.Interrupt)) }
	out := &trigger{on: "Nobody comes back", do: interrupt} // while it waits for a lease to expire
	var stderr bytes.Buffer
	require.Equal(t, 0, run([]string{"--endpoints", strings.Join(cluster.Endpoints(), ",")}, out, &stderr))
	require.Empty(t, stderr.String())
	require.NotContains(t, out.text.String(), "Starting an etcd")
	require.NotContains(t, out.text.String(), "9. ")
	require.Contains(t, out.text.String(), "Interrupted; the keys are deleted.")

	deleted, err := cluster.Client().Delete(t.Context(), "somebody's")
	require.NoError(t, err)
	require.Equal(t, int64(1), deleted.Deleted)
	nothingLeft(t, cluster.Client())
}

func TestATourThatCannotCleanUpSaysSo(t *testing.T) {
	t.Parallel() // it waits for etcd to come back
	cluster := startEtcd(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	out := &trigger{on: "4. Delete by prefix", do: func() {
		require.NoError(t, cluster.Kill(0))
		cancel()
	}}
	err := newTour(cluster.Client(), out, time.Second).run(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errLeftBehind)
	require.ErrorContains(t, err, "delete by prefix: ")

	var stdout, stderr bytes.Buffer
	require.Equal(t, 1, end(err, true, &stdout, &stderr))
	require.Contains(t, stderr.String(), "cleaning up after the tour")
	require.Empty(t, stdout.String())
}

// trigger does something when it is written a certain text.
type trigger struct {
	text bytes.Buffer
	on   string
	do   func()
}

func (w *trigger) Write(b []byte) (int, error) {
	if w.do != nil && bytes.Contains(b, []byte(w.on)) {
		w.do()
		w.do = nil
	}
	return w.text.Write(b)
}

func TestTheCommandLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"unknown flag":     {[]string{"--nonsense"}, 2, "flag provided but not defined"},
		"an argument":      {[]string{"nonsense"}, 2, `unexpected argument "nonsense"`},
		"help":             {[]string{"-h"}, 0, "comma-separated"},
		"a bad endpoint":   {[]string{"--endpoints", "localhost"}, 1, "missing port"},
		"nobody at home":   {[]string{"--endpoints", "127.0.0.1:1"}, 1, "no answer from 127.0.0.1:1"},
		"an empty element": {[]string{"--endpoints", "127.0.0.1:1,"}, 1, `endpoint ""`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // one of them waits for an answer
			var stdout, stderr bytes.Buffer
			require.Equal(t, c.code, run(c.args, &stdout, &stderr))
			require.Contains(t, stderr.String(), c.says)
			require.Empty(t, stdout.String())
		})
	}
}

func TestWithAnEtcdOfItsOwn(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, run(nil, &stdout, &stderr))
	require.Empty(t, stderr.String())
	require.Regexp(t, regexp.MustCompile(`(?s)^Starting an etcd.*at http://127\.0\.0\.1:\d+\..*worker-1 went offline`), stdout.String())
}
