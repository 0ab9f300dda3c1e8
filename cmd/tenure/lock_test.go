//go:build unix

package main

import (
	"os/signal"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

func TestTheExitCodeIsThePrograms(t *testing.T) {
	for _, code := range []int{0, 1, 7, 255} {
		tool := launch(t, cluster, "lock", t.Name(), "--", "SELF", "program-exit", strconv.Itoa(code))
		require.Equal(t, code, tool.code(), &tool.stderr)
		require.Empty(t, tool.stderr.String())
	}
	tool := launch(t, cluster, "lock", t.Name(), "--", "sh", "-c", "kill -KILL $$")
	require.Equal(t, 128+int(syscall.SIGKILL), tool.code())
	require.Empty(t, tool.stderr.String())
}

func TestAfterTheProgramNothingIsLeft(t *testing.T) {
	s := member(t)
	tool := launch(t, cluster, "lock", t.Name(), "--name", "left over", "--", "SELF", "program-exit", "0")
	require.Zero(t, tool.code())
	queue, err := lock.NewMutex(s, t.Name()).Queue(within(t))
	require.NoError(t, err)
	require.Empty(t, queue)
	sessions, err := session.List(within(t), cluster.Client(), "")
	require.NoError(t, err)
	for _, info := range sessions {
		require.NotEqual(t, "left over", info.Name)
	}
}

func TestTheProgramKnowsItsLock(t *testing.T) {
	m := lock.NewMutex(member(t), t.Name())
	tool := launch(t, cluster, "lock", t.Name(), "--name", "billing-3", "--", "SELF", "program-environment")
	name, token, key, revision := tool.line(), tool.line(), tool.line(), tool.line()
	queue, err := m.Queue(within(t))
	require.NoError(t, err)
	require.Len(t, queue, 1)
	require.Equal(t, t.Name(), name)
	require.Equal(t, strconv.FormatInt(queue[0].Token, 10), token)
	require.Equal(t, queue[0].Key, key)
	require.Equal(t, strconv.FormatInt(queue[0].Revision, 10), revision)
	require.Equal(t, "billing-3", queue[0].Owner.Session)
	tool.say("go on")
	require.Zero(t, tool.code())
}

func TestTryDoesNotWaitForATakenLock(t *testing.T) {
	m := lock.NewMutex(member(t, session.WithName("the other")), t.Name())
	held, err := m.Lock(within(t))
	require.NoError(t, err)

	tool := launch(t, cluster, "lock", t.Name(), "--try", "--", "SELF", "program-exit", "0")
	require.Equal(t, exitNotHad, tool.code())
	require.Contains(t, tool.complaint(), "is taken: the other has it (process ")

	require.NoError(t, held.Unlock(within(t)))
	tool = launch(t, cluster, "lock", t.Name(), "--try", "--", "SELF", "program-exit", "3")
	require.Equal(t, 3, tool.code())
}

func TestWaitingEndsWhenItsTimeHasPassed(t *testing.T) {
	m := lock.NewMutex(member(t), t.Name())
	held, err := m.Lock(within(t))
	require.NoError(t, err)
	tool := launch(t, cluster, "lock", "--wait", "200ms", t.Name(), "--", "SELF", "program-exit", "0")
	require.Equal(t, exitNotHad, tool.code())
	require.Contains(t, tool.complaint(), "was not had within 200ms")
	queue, err := m.Queue(within(t))
	require.NoError(t, err)
	require.Len(t, queue, 1)
	require.NoError(t, held.Unlock(within(t)))
}

func TestASignalEndsTheWaiting(t *testing.T) {
	m := lock.NewMutex(member(t), t.Name())
	held, err := m.Lock(within(t))
	require.NoError(t, err)
	tool := launch(t, cluster, "lock", t.Name(), "--", "SELF", "program-exit", "0")
	awaitQueue(t, m, 2)
	tool.signal(syscall.SIGTERM)
	require.Equal(t, 128+int(syscall.SIGTERM), tool.code())
	require.Contains(t, tool.complaint(), "while waiting for lock")
	queue, err := m.Queue(within(t))
	require.NoError(t, err)
	require.Len(t, queue, 1)
	require.NoError(t, held.Unlock(within(t)))
}

func TestTheLockIsKeptUntilASignalledProgramHasEnded(t *testing.T) {
	m := lock.NewMutex(member(t), t.Name())
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1} {
		if signal.Ignored(sig) {
			continue // under nohup the tool leaves it so
		}
		tool := launch(t, cluster, "lock", t.Name(), "--", "SELF", "program-graceful")
		require.Equal(t, "ready", tool.line())
		before, err := m.Queue(within(t))
		require.NoError(t, err)
		require.Len(t, before, 1)

		tool.signal(sig)
		require.Equal(t, sig.String(), tool.line())
		after, err := m.Queue(within(t))
		require.NoError(t, err)
		require.Equal(t, before, after, "the program has been told to end but has not ended")

		tool.say("end")
		require.Equal(t, 7, tool.code(), &tool.stderr)
		awaitQueue(t, m, 0)
	}
}

func TestALockIsSharedWithOtherEtcdPrograms(t *testing.T) {
	other, err := concurrency.NewSession(cluster.Client())
	require.NoError(t, err)
	defer other.Close()
	mutex := concurrency.NewMutex(other, "/jobs/"+t.Name())
	require.NoError(t, mutex.Lock(within(t)))

	run := func() *tool {
		return launch(t, cluster, "lock", "--at-key", "/jobs/"+t.Name(), "--try", "--", "SELF", "program-exit", "4")
	}
	tool := run()
	require.Equal(t, exitNotHad, tool.code())
	require.Contains(t, tool.complaint(), "is taken: another program has it")
	require.NoError(t, mutex.Unlock(within(t)))
	require.Equal(t, 4, run().code())
}
