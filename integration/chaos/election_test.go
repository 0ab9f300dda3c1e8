package chaos

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/election"
	"github.com/gotenure/tenure/integration/harness"
)

func TestTheElectionOfAKilledProcessPassesOn(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		killed := startHolder(t, c, leading, name)
		var token int64
		_, err := fmt.Sscan(killed.says(t, "held"), &token)
		require.NoError(t, err)
		events := make(chan election.Event, 10)
		ctx, stop := context.WithCancel(harness.Context(t))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for ev, err := range election.NewObserver(c.Client(), "", name).Observe(ctx) {
				if err == nil {
					events <- ev
				}
			}
		}()
		require.Equal(t, token, harness.Got(t, events).Token)

		next := election.New(c.Session(t), name)
		won := make(chan *election.Term, 1)
		go func() {
			term, _ := next.Campaign(harness.Context(t))
			won <- term
		}()
		c.AwaitKeys(t, next.Prefix(), 2)
		require.NoError(t, killed.cmd.Process.Kill())
		began := time.Now()
		term := harness.Got(t, won)
		require.NotNil(t, term)
		t.Logf("with a TTL of %v, the next one led %v after the kill", ttl, time.Since(began).Round(time.Millisecond))
		require.Greater(t, term.Token(), token)
		require.Equal(t, term.Token(), harness.Got(t, events).Token, "and nobody in between")
		require.NoError(t, term.Resign(harness.Context(t)))
		require.Equal(t, election.Vacant, harness.Got(t, events).Kind)
		stop()
		<-ended
	})
}

func TestALeaderThatWasStoppedPastItsTTLKnowsAtItsFirstInstruction(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		stopped := startHolder(t, c, leading, name)
		stopped.says(t, "held")
		require.NoError(t, stopped.cmd.Process.Signal(syscall.SIGSTOP))
		term, err := election.New(c.Session(t), name).Campaign(harness.Context(t))
		require.NoError(t, err, "etcd has let the lease run out")

		require.NoError(t, stopped.cmd.Process.Signal(syscall.SIGCONT))
		require.Equal(t, "false", stopped.says(t, "stopped"))
		require.Contains(t, stopped.says(t, "told"), "election: term lost")
		require.NoError(t, stopped.cmd.Wait())
		require.True(t, term.Valid())
		require.NoError(t, term.Resign(harness.Context(t)))
	})
}
