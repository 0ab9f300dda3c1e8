package chaos

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver"

	"github.com/gotenure/tenure/embedded"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/integration/proxy"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// alone starts three members that this test may break.
func alone(t *testing.T) *harness.Cluster {
	t.Helper()
	cluster, err := embedded.Start(harness.Context(t), harness.Config(3))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	return &harness.Cluster{Cluster: cluster}
}

// renewals returns an option for a session, and what waits for n renewals that
// were answered.
func renewals() (session.Option, func(t *testing.T, n int)) {
	answered := make(chan struct{}, 10_000)
	option := session.WithObserver(session.Observer{Renewed: func(r session.Renewal) {
		if r.Err == nil {
			answered <- struct{}{}
		}
	}})
	return option, func(t *testing.T, n int) {
		for len(answered) > 0 {
			<-answered
		}
		for range n {
			harness.Got(t, answered)
		}
	}
}

func server(t *testing.T, c *harness.Cluster, i int) *etcdserver.EtcdServer {
	t.Helper()
	member := c.Member(i)
	require.NotNil(t, member)
	return member.Server
}

func TestAChangeOfTheLeaderKeepsTheLock(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := alone(t)
	option, renewed := renewals()
	mu := lock.NewMutex(c.Session(t, session.WithTTL(ttl), option), "orders")
	held, err := mu.Lock(harness.Context(t))
	require.NoError(t, err)
	leader, ok := c.Leader()
	require.True(t, ok)
	from, to := server(t, c, leader), server(t, c, (leader+1)%3)
	require.NoError(t, from.MoveLeader(harness.Context(t), uint64(from.MemberID()), uint64(to.MemberID())))
	renewed(t, 4) // more than a TTL's worth, by the new leader
	require.True(t, held.Valid())
	require.NoError(t, held.Unlock(harness.Context(t)))
	require.Empty(t, c.Keys(t, mu.Prefix()))
}

func TestAKilledMemberKeepsTheLock(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := alone(t)
	option, renewed := renewals()
	mu := lock.NewMutex(c.Session(t, session.WithTTL(5*time.Second), option), "orders")
	held, err := mu.Lock(harness.Context(t))
	require.NoError(t, err)
	leader, ok := c.Leader()
	require.True(t, ok)
	require.NoError(t, c.Kill(leader))
	renewed(t, 2)
	require.True(t, held.Valid())
	require.NoError(t, held.Unlock(harness.Context(t)))
	require.NoError(t, c.Restart(harness.Context(t)))
	require.Empty(t, c.Keys(t, mu.Prefix()))
}

func TestAMemberThatIsCutOffFromTheOthersStopsNoWaiter(t *testing.T) {
	for i := range 3 { // one of them is the one that the waiter's watch is on
		t.Run(fmt.Sprint("member ", i), func(t *testing.T) {
			t.Parallel()
			c := alone(t)
			first := lock.NewMutex(c.Session(t), "orders")
			held, err := first.Lock(harness.Context(t))
			require.NoError(t, err)
			waiting := lockLater(t, lock.NewMutex(c.Session(t), "orders"))
			c.AwaitKeys(t, first.Prefix(), 2)

			cut := server(t, c, i)
			for j := range 3 {
				if j != i {
					other := server(t, c, j)
					cut.CutPeer(types.ID(other.MemberID()))
					other.CutPeer(types.ID(cut.MemberID()))
				}
			}
			require.NoError(t, held.Unlock(harness.Context(t)))
			got := harness.Got(t, waiting)
			require.NoError(t, got.err)
			require.NoError(t, got.held.Unlock(harness.Context(t)))
		})
	}
}

// With one of three endpoints silent, etcd's own keepalive, which stays on one
// stream, loses the lease whenever that stream is on it.
func TestASilentEndpointCostsNeitherTheLeaseNorAWaiter(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := alone(t)
	for silent := range 3 {
		t.Run(fmt.Sprint("endpoint ", silent), func(t *testing.T) {
			t.Parallel()
			name := harness.Name(t)
			holderClient, holderLinks := proxied(t, c)
			waiterClient, waiterLinks := proxied(t, c)
			option, renewed := renewals()
			s := c.SessionOn(t, holderClient, session.WithTTL(ttl), option)
			first := lock.NewMutex(s, name)
			held, err := first.Lock(harness.Context(t))
			require.NoError(t, err)
			waiting := lockLater(t, lock.NewMutex(c.SessionOn(t, waiterClient), name))
			c.AwaitKeys(t, first.Prefix(), 2)

			holderLinks[silent].Set(proxy.BlackHole)
			waiterLinks[silent].Set(proxy.BlackHole)
			renewed(t, 5) // more than a TTL's worth
			require.True(t, held.Valid())
			require.NoError(t, held.Unlock(harness.Context(t)))
			got := harness.Got(t, waiting)
			require.NoError(t, got.err)
			require.NoError(t, got.held.Unlock(harness.Context(t)))
		})
	}
}

// proxied returns a client that reaches each member through a proxy of its own.
func proxied(t *testing.T, c *harness.Cluster) (*clientv3.Client, []*proxy.Proxy) {
	t.Helper()
	cfg := c.ClientConfig()
	var links []*proxy.Proxy
	for i, endpoint := range cfg.Endpoints {
		at, err := url.Parse(endpoint)
		require.NoError(t, err)
		link, err := proxy.New(cmp.Or(at.Host, endpoint))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, link.Close()) })
		cfg.Endpoints[i] = "http://" + link.Addr()
		links = append(links, link)
	}
	client, err := clientv3.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	return client, links
}

type locked struct {
	held *lock.Held
	err  error
}

func lockLater(t *testing.T, mu *lock.Mutex) <-chan locked {
	result := make(chan locked, 1)
	go func() {
		held, err := mu.Lock(harness.Context(t))
		result <- locked{held, err}
	}()
	return result
}

func TestATotalOutageEndsTheHoldAndTheSessionComesBack(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := alone(t)
	s := c.Session(t, session.WithTTL(ttl))
	held, err := lock.NewMutex(s, "orders").Lock(harness.Context(t))
	require.NoError(t, err)
	for i := range 3 {
		require.NoError(t, c.Kill(i))
	}
	require.ErrorIs(t, harness.Ended(t, held.Context()), lock.ErrLost)
	require.False(t, held.Valid())
	require.NoError(t, c.Restart(harness.Context(t)))
	epoch, err := s.Epoch(harness.Context(t))
	require.NoError(t, err)
	require.Greater(t, epoch.Number(), uint64(1))
	again, err := lock.NewMutex(s, "orders").Lock(harness.Context(t))
	require.NoError(t, err)
	require.Greater(t, again.Token(), held.Token())
	require.ErrorIs(t, held.Unlock(context.Background()), lock.ErrLost)
	require.NoError(t, again.Unlock(harness.Context(t)))
}
