package embedded_test

import (
	"context"
	"crypto/x509"
	"os"
	"testing"
	"time"

	"github.com/gotenure/tenure/embedded"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	v3lock "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestEveryMemberServesClients(t *testing.T) {
	for _, n := range []int{1, 2, 3} {
		cluster := start(t, members(n))
		require.Equal(t, n, cluster.Size())
		require.Len(t, cluster.Endpoints(), n)
		putAndGet(t, cluster.Client())
		for i, endpoint := range cluster.Endpoints() {
			cfg := cluster.ClientConfig()
			cfg.Endpoints = []string{endpoint}
			client := newClient(t, cfg)
			putAndGet(t, client)

			status, err := client.Status(within(t), endpoint)
			require.NoError(t, err)
			require.Equal(t, uint64(cluster.Member(i).Server.MemberID()), status.Header.MemberId, "endpoint %d is not member %d", i, i)
		}
		leader, ok := cluster.Leader()
		require.True(t, ok)
		require.Equal(t, cluster.Member(leader).Server.Lead(), uint64(cluster.Member(leader).Server.MemberID()))

		listed, err := cluster.Client().MemberList(within(t))
		require.NoError(t, err)
		var advertised []string
		for _, m := range listed.Members {
			advertised = append(advertised, m.ClientURLs...)
		}
		require.ElementsMatch(t, cluster.Endpoints(), advertised)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	for _, n := range []int{1, 3} {
		leavesNothing(t, func() {
			cluster, err := embedded.Start(within(t), fast(members(n)))
			require.NoError(t, err)
			require.DirExists(t, cluster.Dir())
			putAndGet(t, cluster.Client())

			require.NoError(t, cluster.Close())
			require.NoError(t, cluster.Close(), "closing twice")
			require.NoDirExists(t, cluster.Dir())
			require.Error(t, cluster.Client().Ctx().Err(), "the client is still open")
		})
	}
}

func TestClosingIsFastWhateverClientsHaveOpen(t *testing.T) {
	t.Run("plain", func(t *testing.T) { closesFast(t, members(3)) })
	t.Run("TLS", func(t *testing.T) { closesFast(t, members(3), withTLS(embedded.TLS{})) })
}

func closesFast(t *testing.T, adjust ...func(*embedded.Config)) {
	cluster, err := embedded.Start(within(t), fast(adjust...))
	require.NoError(t, err)
	defer cluster.Close()

	// A client that nobody closes before the cluster, with a watch, a lease and a call that waits for a lock.
	client, err := cluster.NewClient()
	require.NoError(t, err)
	defer client.Close()
	<-client.Watch(t.Context(), "key", clientv3.WithCreatedNotify())
	lease, err := client.Grant(within(t), 60)
	require.NoError(t, err)
	answers, err := client.KeepAlive(t.Context(), lease.ID)
	require.NoError(t, err)
	<-answers
	locks := v3lock.NewLockClient(client.ActiveConnection())
	_, err = locks.Lock(within(t), &v3lock.LockRequest{Name: []byte("lock"), Lease: int64(lease.ID)})
	require.NoError(t, err)
	waiting := client.Watch(t.Context(), "lock/", clientv3.WithPrefix())
	second, err := client.Grant(within(t), 60)
	require.NoError(t, err)
	refused := make(chan error, 1)
	go func() {
		_, err := locks.Lock(t.Context(), &v3lock.LockRequest{Name: []byte("lock"), Lease: int64(second.ID)})
		refused <- err
	}()
	<-waiting

	begin := time.Now()
	require.NoError(t, cluster.Close())
	require.Less(t, time.Since(begin), 3*time.Second, "etcd alone takes its request timeout, 5.2 s here")
	err = <-refused
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
}

func TestCloseWaitsForCallsThatNobodyWaitsForAnyMore(t *testing.T) {
	for name, adjust := range map[string]func(*embedded.Config){
		"plain": func(*embedded.Config) {},
		"TLS":   withTLS(embedded.TLS{}),
	} {
		t.Run(name, func(t *testing.T) {
			// A call is held up in the middle, where it logs something.
			inside, goOn := make(chan struct{}), make(chan struct{})
			cluster := start(t, adjust, func(c *embedded.Config) {
				c.Logger = logSpy(func(_, message string) {
					if message == "starting defragment" {
						close(inside)
						<-goOn
					}
				})
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			called := make(chan struct{})
			go func() {
				defer close(called)
				_, _ = cluster.Client().Defragment(ctx, cluster.Endpoints()[0])
			}()
			<-inside
			cancel()
			<-called

			closed := make(chan error, 1)
			go func() { closed <- cluster.Close() }()
			select {
			case <-closed:
				t.Error("Close returned in the middle of a call")
			case <-time.After(300 * time.Millisecond): // without the call it takes 10 ms
			}
			close(goOn)
			require.NoError(t, <-closed)
		})
	}
}

func TestClientConfigBelongsToTheCaller(t *testing.T) {
	cluster := start(t, func(c *embedded.Config) { c.TLS = &embedded.TLS{} })
	cfg := cluster.ClientConfig()
	cfg.Endpoints[0] = "http://127.0.0.1:1"
	cfg.TLS.RootCAs = x509.NewCertPool()
	cfg.DialOptions[0] = nil
	putAndGet(t, newClient(t, cluster.ClientConfig()))
}

func TestClientsThatAreNotTheClustersAreClosedByTheCaller(t *testing.T) {
	cluster := start(t)
	client, err := cluster.NewClient()
	require.NoError(t, err)
	putAndGet(t, client)
	require.NoError(t, client.Close())
	putAndGet(t, cluster.Client())
}

func TestAnEvenNumberOfMembersIsAllowedButSaid(t *testing.T) {
	var heard logged
	cluster := start(t, members(2), func(c *embedded.Config) { c.Logger = logSpy(heard.see) })
	require.Len(t, cluster.Warnings(), 1)
	require.Contains(t, cluster.Warnings()[0], "an even number of members, 2")
	require.Equal(t, cluster.Warnings(), heard.by(""))

	require.Empty(t, start(t, members(3)).Warnings())
}

func TestNoFsyncOnKeptDataIsAllowedButSaid(t *testing.T) {
	cluster := start(t, in(t.TempDir()))
	require.Len(t, cluster.Warnings(), 1)
	require.Contains(t, cluster.Warnings()[0], cluster.Dir())
}

func TestTheLoggerHearsMembersAndClients(t *testing.T) {
	var heard logged
	cluster, err := embedded.Start(within(t), fast(members(2), func(c *embedded.Config) { c.Logger = logSpy(heard.see) }))
	require.NoError(t, err)
	cluster.Client().GetLogger().Info("hello")
	require.NoError(t, cluster.Close())
	require.NotEmpty(t, heard.by("member-0"))
	require.NotEmpty(t, heard.by("member-1"))
	require.NotEmpty(t, heard.by("client"))
}

func TestTheDatabaseStopsAtTheQuota(t *testing.T) {
	cluster := start(t, func(c *embedded.Config) { c.QuotaBytes = 1 << 20 })
	var err error
	for i := 0; i < 1000 && err == nil; i++ {
		_, err = cluster.Client().Put(within(t), "key", string(make([]byte, 10<<10)))
	}
	require.ErrorIs(t, err, rpctypes.ErrNoSpace)
}

func TestThePastIsCompactedAwayAfterTheRetention(t *testing.T) {
	compacted := make(chan struct{}, 100)
	cluster := start(t, func(c *embedded.Config) {
		c.Retention = 50 * time.Millisecond
		c.Logger = logSpy(func(_, message string) {
			if message == "completed auto periodic compaction" {
				compacted <- struct{}{}
			}
		})
	})
	ctx := within(t)
	first, err := cluster.Client().Put(ctx, "key", "1")
	require.NoError(t, err)
	for err == nil { // each round waits until etcd has compacted once more
		_, err = cluster.Client().Put(ctx, "key", "2")
		require.NoError(t, err)
		select {
		case <-compacted:
		case <-ctx.Done():
			require.FailNow(t, "nothing was compacted")
		}
		_, err = cluster.Client().Get(ctx, "key", clientv3.WithRev(first.Header.Revision))
	}
	require.ErrorIs(t, err, rpctypes.ErrCompacted)
}

func TestTheTimingIsTheOneAskedFor(t *testing.T) {
	for _, c := range []struct {
		tick, election         time.Duration
		wantTick, wantElection uint
	}{
		{0, 0, 100, 1000},
		{20 * time.Millisecond, 0, 20, 200},
		{0, 300 * time.Millisecond, 30, 300},
		{7 * time.Millisecond, 99 * time.Millisecond, 7, 99},
	} {
		cluster, err := embedded.Start(within(t), embedded.Config{NoFsync: true, Tick: c.tick, ElectionTimeout: c.election})
		require.NoError(t, err)
		cfg := cluster.Member(0).Config()
		require.NoError(t, cluster.Close())
		require.Equal(t, c.wantTick, cfg.TickMs)
		require.Equal(t, c.wantElection, cfg.ElectionMs)
		require.True(t, cfg.UnsafeNoFsync)
	}
}

func TestTheTemporaryFolderIsWhereTemporaryFilesGo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	cluster := start(t)
	require.Contains(t, cluster.Dir(), os.Getenv("TMPDIR"))
	require.NoError(t, cluster.Close())
	require.Len(t, tree(t, os.Getenv("TMPDIR")), 1)
}
