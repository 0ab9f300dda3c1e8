//go:build unix

package main

import (
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/embedded"
	"github.com/gotenure/tenure/lock"
)

// stubborn launches a program that takes no notice of signals and has a child that does not either.
func stubborn(t *testing.T, c *embedded.Cluster, flags ...string) *tool {
	t.Helper()
	args := append([]string{"lock", t.Name()}, flags...)
	tool := launch(t, c, append(args, "--", "SELF", "program-stubborn")...)
	tool.line()
	tool.line()
	return tool
}

func TestTheChildDoesNotOutliveTheLock(t *testing.T) {
	m := lock.NewMutex(member(t), t.Name())
	tool := stubborn(t, cluster)
	queue := awaitQueue(t, m, 1)
	_, err := cluster.Client().Revoke(within(t), queue[0].Lease)
	require.NoError(t, err)
	require.Equal(t, exitLost, tool.code(), "code returns when the whole group has ended")
	require.Contains(t, tool.complaint(), "was told to stop and was killed")
}

func TestTheProgramCanEndGracefullyWhenTheLockIsLost(t *testing.T) {
	m := lock.NewMutex(member(t), t.Name())
	tool := launch(t, cluster, "lock", t.Name(), "--ttl", "60s", "--grace", "20s", "--", "SELF", "program-graceful")
	require.Equal(t, "ready", tool.line())
	queue := awaitQueue(t, m, 1)
	_, err := cluster.Client().Revoke(within(t), queue[0].Lease)
	require.NoError(t, err)
	require.Equal(t, syscall.SIGTERM.String(), tool.line())
	tool.say("end")
	require.Equal(t, exitLost, tool.code())
	require.Contains(t, tool.complaint(), "was told to stop and ended with code 7")
}

func TestTheProgramIsEndedWhenItsKeyIsDeleted(t *testing.T) {
	m := lock.NewMutex(member(t), t.Name())
	tool := stubborn(t, cluster, "--ttl", "1s")
	_, err := cluster.Client().Delete(within(t), awaitQueue(t, m, 1)[0].Key)
	require.NoError(t, err)
	require.Equal(t, exitLost, tool.code())
}

// TestNobodyElseHasTheLockWhileTheProgramRuns: the tool is cut off from etcd, and the program does not want to end.
func TestNobodyElseHasTheLockWhileTheProgramRuns(t *testing.T) {
	for name, c := range map[string]struct {
		flags []string
		says  string
	}{
		"told at the deadline": {[]string{"--ttl", "3s"}, "lease lost"},
		"told before":          {[]string{"--ttl", "3s", "--grace", "1s"}, errNotice.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			line := lineTo(t, cluster.Endpoints()[0])
			args := append([]string{"lock", t.Name(), "--timeout", "1s", "--endpoints", line.address()}, c.flags...)
			tool := launch(t, nil, append(args, "--", "SELF", "program-stubborn", "alone")...)
			pid, err := strconv.Atoi(tool.line())
			require.NoError(t, err)

			line.cut()
			held, err := lock.NewMutex(member(t), t.Name()).Lock(within(t))
			require.NoError(t, err)
			require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
			require.NoError(t, held.Unlock(within(t)))
			require.Equal(t, exitLost, tool.code())
			require.Contains(t, tool.complaint(), c.says)
			require.Contains(t, tool.complaint(), "was told to stop and was killed")
		})
	}
}

func TestAToolThatWasStoppedEndsTheProgramOnceItGoesOn(t *testing.T) {
	m := lock.NewMutex(member(t), t.Name())
	tool := stubborn(t, cluster, "--ttl", "1s")
	tool.signal(syscall.SIGSTOP)
	awaitQueue(t, m, 0)
	tool.signal(syscall.SIGCONT)
	require.Equal(t, exitLost, tool.code())
}

func TestCtrlZDoesNotStopTheToolAlone(t *testing.T) {
	m := lock.NewMutex(member(t), t.Name())
	tool := launch(t, cluster, "lock", t.Name(), "--ttl", "1s", "--", "SELF", "program-graceful")
	require.Equal(t, "ready", tool.line())
	tool.signal(syscall.SIGTSTP)
	tool.signal(syscall.SIGTERM) // would stay pending
	require.Equal(t, syscall.SIGTERM.String(), tool.line())
	require.Len(t, awaitQueue(t, m, 1), 1)
	tool.say("end")
	require.Equal(t, 7, tool.code())
}

// TestTheProgramIsKilledBeforeTheLockCanBeGivenAway: for no TTL and no grace that are accepted does the plan reach
// beyond the middle of the margin, nor does its notice reach into the time in which a healthy lease is renewed.
func TestTheProgramIsKilledBeforeTheLockCanBeGivenAway(t *testing.T) {
	for _, ttl := range []time.Duration{1, 2, 3, 5, 10, 30, 3600, 86400} {
		ttl *= time.Second
		for grace := time.Duration(-1); grace <= longestGrace(ttl); grace += longestGrace(ttl)/7 + 1 {
			p := (&lockCommand{grace: grace, graceSet: grace >= 0}).plan(ttl)
			killed := p.grace - p.notice // after the deadline
			require.LessOrEqual(t, killed, margin(ttl)/2, "TTL %v, grace %v", ttl, grace)
			renewed := ttl - ttl/3 - margin(ttl) // what remains when the next renewal is due
			require.Less(t, p.notice, renewed, "TTL %v, grace %v", ttl, grace)
			require.GreaterOrEqual(t, p.notice, time.Duration(0))
		}
	}
}
