//go:build unix

package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// printed runs the tool to its good end and returns what it has printed.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	tool := launch(t, cluster, args...)
	require.Zero(t, tool.code(), &tool.stderr)
	return tool.exactly
}

// table splits a table into rows of cells, which have no spaces in these tests.
func table(text string) [][]string {
	var rows [][]string
	for line := range strings.Lines(text) {
		rows = append(rows, strings.Fields(line))
	}
	return rows
}

func TestTheQueueShowsHolderAndWaiters(t *testing.T) {
	mutex := func(name string) *lock.Mutex { return lock.NewMutex(member(t, session.WithName(name)), t.Name()) }
	holder, waiter := mutex("first"), mutex("second")
	held, err := holder.Lock(within(t))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(within(t))
	waited := make(chan error, 1)
	go func() {
		_, err := waiter.Lock(ctx)
		waited <- err
	}()
	queue := awaitQueue(t, holder, 2)
	require.Equal(t, held.Token(), queue[0].Token)

	want := [][]string{{"ROLE", "NAME", "HOST", "PID", "SINCE", "TOKEN", "LEASE"}}
	for i, role := range []string{"holder", "waiter"} {
		owner := queue[i].Owner
		want = append(want, []string{role, owner.Session, owner.Host, strconv.Itoa(os.Getpid()), instant(owner.Since),
			strconv.FormatInt(queue[i].Token, 10), leaseID(queue[i].Lease)})
	}
	require.Equal(t, want, table(printed(t, "queue", t.Name())))

	var places []struct {
		Role, Session, Host, Lease, Key string
		PID                             int
		Token, Revision                 int64
	}
	require.NoError(t, json.Unmarshal([]byte(printed(t, "queue", t.Name(), "-o", "json")), &places))
	require.Len(t, places, 2)
	for i, place := range places {
		require.Equal(t, want[i+1][0], place.Role)
		require.Equal(t, queue[i].Owner.Session, place.Session)
		require.Equal(t, queue[i].Owner.Host, place.Host)
		require.Equal(t, os.Getpid(), place.PID)
		require.Equal(t, queue[i].Token, place.Token)
		require.Equal(t, queue[i].Key, place.Key)
		require.Equal(t, queue[i].Revision, place.Revision)
		require.Equal(t, leaseID(queue[i].Lease), place.Lease)
	}

	cancel()
	require.Error(t, <-waited)
	require.NoError(t, held.Unlock(within(t)))
}

func TestAFreeLockHasAnEmptyQueue(t *testing.T) {
	tool := launch(t, cluster, "queue", "nobody's")
	require.Zero(t, tool.code())
	require.Empty(t, tool.exactly)
	require.Equal(t, "nobody holds nobody's\n", tool.stderr.String())
	require.Equal(t, "[]\n", printed(t, "queue", "nobody's", "-o", "json"))
}

func TestTheQueueShowsForeignPrograms(t *testing.T) {
	_, err := cluster.Client().Put(within(t), "/jobs/"+t.Name()+"/1", "\x1b[31mred")
	require.NoError(t, err)
	text := printed(t, "queue", "--at-key", "/jobs/"+t.Name())
	require.Contains(t, text, `"(another program: \x1b[31mred)"`)
	require.NotContains(t, text, "\x1b", "what others write does not talk to the terminal")
	text = printed(t, "queue", "--at-key", "/jobs/"+t.Name(), "-o", "json")
	require.Contains(t, text, `"foreign": "\u001b[31mred"`)
	require.NotContains(t, text, `"since"`)
}

func TestTheSessionsOfANamespaceAreShown(t *testing.T) {
	namespace := "/" + t.Name() + "/"
	require.Equal(t, "[]\n", printed(t, "--namespace", namespace, "sessions", "-o", "json"))
	epoch, err := member(t, session.WithName("billing-3"), session.WithNamespace(namespace)).Epoch(within(t))
	require.NoError(t, err)
	infos, err := session.List(within(t), cluster.Client(), namespace)
	require.NoError(t, err)
	require.Len(t, infos, 1)

	require.Equal(t, [][]string{
		{"LEASE", "NAME", "HOST", "PID", "STARTED", "VERSION"},
		{leaseID(epoch.Lease()), "billing-3", infos[0].Host, strconv.Itoa(os.Getpid()), instant(infos[0].Started), session.Version},
	}, table(printed(t, "--namespace", namespace, "sessions")))

	var entries []map[string]any
	require.NoError(t, json.Unmarshal([]byte(printed(t, "--namespace", namespace, "sessions", "-o", "json")), &entries))
	require.Len(t, entries, 1)
	require.Equal(t, leaseID(epoch.Lease()), entries[0]["lease"])
	require.Equal(t, "billing-3", entries[0]["name"])
	require.Equal(t, float64(os.Getpid()), entries[0]["pid"])
}

func TestTheVersionIsTheLibrarys(t *testing.T) {
	require.True(t, strings.HasPrefix(printed(t, "version"), "tenure "+session.Version+" go"))
}
