//go:build unix

package main

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

func holding(t *testing.T) *lock.Held {
	t.Helper()
	held, err := lock.NewMutex(member(t, session.WithName("billing-3")), t.Name()).Lock(within(t))
	require.NoError(t, err)
	return held
}

func TestReleaseAsksTheHolder(t *testing.T) {
	held := holding(t)
	require.Contains(t, printed(t, "release", t.Name()), "asked billing-3 (process ")
	<-held.Requested()
	require.True(t, held.Valid(), "it was asked, not told")

	tool := launch(t, cluster, "release", t.Name(), "--wait", "50ms")
	require.Equal(t, exitNotHad, tool.code())
	require.Contains(t, tool.complaint(), "was not given up within 50ms by billing-3")
	require.True(t, held.Valid())

	tool = launch(t, cluster, "release", t.Name(), "--wait", "30s")
	require.NoError(t, held.Unlock(within(t)))
	require.Zero(t, tool.code(), &tool.stderr)
	if tool.exactly != "" { // else it came too late to find somebody
		require.Contains(t, tool.exactly, "has given it up")
	}
	tool = launch(t, cluster, "release", t.Name())
	require.Zero(t, tool.code())
	require.Equal(t, "nobody holds "+t.Name()+"\n", tool.stderr.String())
}

func TestReleaseByForceTakesTheLockAway(t *testing.T) {
	held := holding(t)
	require.Contains(t, printed(t, "release", t.Name(), "--force"), "billing-3 (process ")
	require.ErrorIs(t, context.Cause(held.Context()), lock.ErrForced)
	next, err := lock.NewMutex(member(t), t.Name()).TryLock(within(t))
	require.NoError(t, err)
	require.NoError(t, next.Unlock(within(t)))
}

func TestAProgramIsEndedBeforeItsLockIsTakenAway(t *testing.T) {
	m := lock.NewMutex(member(t), t.Name())
	tool := stubborn(t, cluster, "--ttl", "60s", "--grace", "20s") // which would be too long here
	awaitQueue(t, m, 1)
	next := make(chan error, 1)
	go func() {
		held, err := m.Lock(within(t))
		if err == nil {
			err = held.Unlock(within(t))
		}
		next <- err
	}()
	awaitQueue(t, m, 2)
	require.Contains(t, printed(t, "release", t.Name(), "--force"), "has given it up")
	require.Equal(t, exitLost, tool.code())
	require.Contains(t, tool.complaint(), "was told to stop and was killed")
	require.NoError(t, <-next)
}

func TestAProgramThatYieldsEndsOnRequestAndKeepsTheLockUntilThen(t *testing.T) {
	m := lock.NewMutex(member(t), t.Name())
	tool := launch(t, cluster, "lock", t.Name(), "--yield", "--", "SELF", "program-graceful")
	require.Equal(t, "ready", tool.line())
	printed(t, "release", t.Name())
	require.Equal(t, syscall.SIGTERM.String(), tool.line())
	require.Len(t, awaitQueue(t, m, 1), 1)
	tool.say("end")
	require.Equal(t, 7, tool.code(), "it was not lost, so the code is the program's")
	require.Empty(t, tool.stderr.String())
}

func TestAProgramThatDoesNotYieldIsLeftAlone(t *testing.T) {
	tool := launch(t, cluster, "lock", t.Name(), "--", "SELF", "program-graceful")
	require.Equal(t, "ready", tool.line())
	printed(t, "release", t.Name())
	tool.signal(syscall.SIGHUP)
	require.Equal(t, syscall.SIGHUP.String(), tool.line(), "the first signal that it got")
	tool.say("end")
	require.Equal(t, 7, tool.code())
}

func TestReleaseCannotAskAnotherProgram(t *testing.T) {
	foreign, err := concurrency.NewSession(cluster.Client(), concurrency.WithTTL(60))
	require.NoError(t, err)
	defer foreign.Close()
	theirs := concurrency.NewMutex(foreign, "/jobs/"+t.Name())
	require.NoError(t, theirs.Lock(within(t)))
	for _, flags := range [][]string{{}, {"--force"}, {"--wait", time.Minute.String()}} {
		tool := launch(t, cluster, append([]string{"release", "--at-key", "/jobs/" + t.Name()}, flags...)...)
		require.Equal(t, exitFailure, tool.code())
		require.Contains(t, tool.complaint(), "another program has it")
	}
	require.NoError(t, theirs.Unlock(within(t)))
}
