package embedded_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gotenure/tenure/embedded"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	v3lock "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
)

// keepReading returns when a read from the majority succeeds again.
func keepReading(t *testing.T, client *clientv3.Client) {
	t.Helper()
	_, err := client.Get(within(t), "key")
	require.NoError(t, err)
}

func TestAStoppedMemberComesBackWithItsPortsAndItsData(t *testing.T) {
	for _, n := range []int{1, 3} {
		cluster := start(t, members(n))
		client := cluster.Client()
		endpoints, id := cluster.Endpoints(), cluster.Member(0).Server.MemberID()
		put, err := client.Put(within(t), "key", "value")
		require.NoError(t, err)

		for _, end := range []func(int) error{cluster.Stop, cluster.Kill} {
			require.NoError(t, end(0))
			require.Nil(t, cluster.Member(0))
			require.NoError(t, end(0), "ending it twice")
			refused, err := net.Dial("tcp", strings.TrimPrefix(endpoints[0], "http://"))
			if err == nil {
				_ = refused.Close()
			}
			require.Error(t, err, "the port is still open")

			require.NoError(t, cluster.Restart(within(t), 0))
			require.Equal(t, endpoints, cluster.Endpoints())
			require.Equal(t, id, cluster.Member(0).Server.MemberID())
			cfg := cluster.ClientConfig()
			cfg.Endpoints = endpoints[:1]
			resp, err := newClient(t, cfg).Get(within(t), "key")
			require.NoError(t, err)
			require.Equal(t, put.Header.Revision, resp.Kvs[0].ModRevision)
		}
	}
}

func TestStoppingTheLeaderHandsOver(t *testing.T) {
	// An election by itself takes at least an election timeout, so that without a handover there is no leader yet.
	cluster := start(t, members(3), func(c *embedded.Config) { c.Tick, c.ElectionTimeout = 0, 2*time.Second })
	for range 2 {
		leader, ok := cluster.Leader()
		require.True(t, ok)
		cfg := cluster.ClientConfig()
		cfg.Endpoints = nil
		for i, endpoint := range cluster.Endpoints() {
			if i != leader {
				cfg.Endpoints = append(cfg.Endpoints, endpoint)
			}
		}
		client := newClient(t, cfg)

		require.NoError(t, cluster.Stop(leader))
		next, ok := cluster.Leader()
		require.True(t, ok)
		require.NotEqual(t, leader, next)
		putAndGet(t, client)
		require.NoError(t, cluster.Restart(within(t), leader))
	}
}

func TestAWatchGoesOnWhenItsMemberStops(t *testing.T) {
	t.Run("plain", func(t *testing.T) { watchGoesOn(t, start(t, members(3))) })
	t.Run("TLS", func(t *testing.T) { watchGoesOn(t, start(t, members(3), withTLS(embedded.TLS{}))) })
}

func watchGoesOn(t *testing.T, cluster *embedded.Cluster) {
	ctx := within(t)
	watch := cluster.Client().Watch(clientv3.WithRequireLeader(ctx), "key", clientv3.WithCreatedNotify())
	<-watch
	for i := range cluster.Size() { // one of them serves the watch
		require.NoError(t, cluster.Stop(i))
		put, err := cluster.Client().Put(ctx, "key", "value")
		require.NoError(t, err)
		event, open := <-watch
		require.True(t, open)
		require.NoError(t, event.Err())
		require.Equal(t, put.Header.Revision, event.Events[0].Kv.ModRevision)
		require.NoError(t, cluster.Restart(ctx, i))
	}
}

func TestTheClusterOutlivesTheLossOfAllMembers(t *testing.T) {
	cluster := start(t, members(3))
	put, err := cluster.Client().Put(within(t), "key", "value")
	require.NoError(t, err)
	for i := range cluster.Size() {
		require.NoError(t, cluster.Kill(i))
	}
	_, ok := cluster.Leader()
	require.False(t, ok)
	require.NoError(t, cluster.Restart(within(t)))
	resp, err := cluster.Client().Get(within(t), "key")
	require.NoError(t, err)
	require.Equal(t, put.Header.Revision, resp.Kvs[0].ModRevision)
}

func TestMembersThatOnlyHaveAMajorityTogether(t *testing.T) {
	cluster := start(t, members(3))
	for i := range cluster.Size() {
		require.NoError(t, cluster.Stop(i))
	}
	t.Run("one alone is stopped again when the context ends", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(within(t), 300*time.Millisecond)
		defer cancel()
		err := cluster.Restart(ctx, 0)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "embedded: restarting: waiting for member-0")
		require.Nil(t, cluster.Member(0))
	})
	t.Run("two come up in one call", func(t *testing.T) {
		require.NoError(t, cluster.Restart(within(t), 0, 2))
		require.Nil(t, cluster.Member(1))
		keepReading(t, cluster.Client())
	})
	t.Run("or in two at the same time", func(t *testing.T) {
		require.NoError(t, cluster.Kill(0))
		require.NoError(t, cluster.Kill(2))
		ctx := within(t)
		failed := make(chan error, 2)
		for _, i := range []int{0, 1} {
			go func() { failed <- cluster.Restart(ctx, i) }()
		}
		require.NoError(t, errors.Join(<-failed, <-failed))
		keepReading(t, cluster.Client())
	})
}

func TestRestartLeavesRunningMembersAlone(t *testing.T) {
	cluster := start(t, members(3))
	before := cluster.Member(1)
	require.NoError(t, cluster.Stop(0))
	require.NoError(t, cluster.Restart(within(t)))
	require.Same(t, before, cluster.Member(1))
	require.NotNil(t, cluster.Member(0))
	require.NoError(t, cluster.Restart(within(t), 0, 0))
}

func TestRestartSaysThatThePortIsTaken(t *testing.T) {
	cluster := start(t)
	require.NoError(t, cluster.Stop(0))
	address := strings.TrimPrefix(cluster.Endpoints()[0], "http://")
	thief, err := net.Listen("tcp", address)
	require.NoError(t, err)
	err = cluster.Restart(within(t), 0)
	require.ErrorIs(t, err, embedded.ErrPortTaken)
	require.ErrorContains(t, err, strings.TrimPrefix(address, "127.0.0.1:"))
	require.Nil(t, cluster.Member(0))

	require.NoError(t, thief.Close())
	require.NoError(t, cluster.Restart(within(t), 0))
	putAndGet(t, cluster.Client())
}

func TestThereIsNoSuchMember(t *testing.T) {
	cluster := start(t)
	for _, i := range []int{-1, 1} {
		require.ErrorContains(t, cluster.Stop(i), "embedded: stopping: no member")
		require.ErrorContains(t, cluster.Kill(i), "embedded: killing: no member")
		require.ErrorContains(t, cluster.Restart(within(t), i), "embedded: restarting: no member")
	}
}

func TestNothingHappensAfterClose(t *testing.T) {
	cluster := start(t)
	require.NoError(t, cluster.Close())
	require.ErrorIs(t, cluster.Stop(0), embedded.ErrClosed)
	require.ErrorIs(t, cluster.Kill(0), embedded.ErrClosed)
	require.ErrorIs(t, cluster.Restart(within(t), 0), embedded.ErrClosed)
	require.Nil(t, cluster.Member(0))
}

func TestCloseEndsARestart(t *testing.T) {
	waiting := make(chan struct{})
	var once sync.Once
	var stopped bool
	var mu sync.Mutex
	leavesNothing(t, func() {
		cluster, err := embedded.Start(within(t), fast(members(3), func(c *embedded.Config) {
			c.Logger = logSpy(func(_, message string) {
				mu.Lock()
				defer mu.Unlock()
				if stopped && message == "starting etcd server" {
					once.Do(func() { close(waiting) })
				}
			})
		}))
		require.NoError(t, err)
		for i := range cluster.Size() {
			require.NoError(t, cluster.Kill(i))
		}
		mu.Lock()
		stopped = true
		mu.Unlock()
		failed := make(chan error, 1)
		go func() { failed <- cluster.Restart(t.Context(), 0) }() // waits for a majority for ever
		<-waiting
		require.NoError(t, cluster.Close())
		require.ErrorIs(t, <-failed, embedded.ErrClosed)
	})
}

func TestAServerThatSomebodyElseHasEnded(t *testing.T) {
	t.Run("stopped", func(t *testing.T) {
		cluster := start(t)
		cluster.Member(0).Server.HardStop()
		require.NoError(t, cluster.Stop(0))
		require.NoError(t, cluster.Restart(within(t), 0))
		putAndGet(t, cluster.Client())
	})
	t.Run("closed", func(t *testing.T) {
		cluster := start(t)
		cluster.Member(0).Close()
		require.NoError(t, cluster.Stop(0))
		require.NoError(t, cluster.Restart(within(t), 0))
		putAndGet(t, cluster.Client())
		cluster.Member(0).Close()
	})
}

func TestEverythingAtTheSameTime(t *testing.T) {
	leavesNothing(t, func() {
		cluster, err := embedded.Start(within(t), fast(members(3)))
		require.NoError(t, err)
		var all sync.WaitGroup
		ctx, cancel := context.WithCancel(within(t))
		for i := range cluster.Size() {
			all.Go(func() {
				for round := 0; ctx.Err() == nil; round++ {
					if round%2 == 0 {
						_ = cluster.Kill(i)
					} else {
						_ = cluster.Stop(i)
					}
					_ = cluster.Restart(ctx, i)
				}
			})
		}
		for range 4 {
			all.Go(func() {
				for ctx.Err() == nil {
					attempt, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
					_, _ = cluster.Client().Put(attempt, "key", "value")
					cancel()
					cluster.Endpoints()
					cluster.Leader()
					if e := cluster.Member(0); e != nil {
						e.Server.Lead()
					}
				}
			})
		}
		over := time.NewTimer(2 * time.Second)
		<-over.C
		require.NoError(t, cluster.Close())
		cancel()
		all.Wait()
	})
}

func TestStoppingAFollowerLosesNoRequest(t *testing.T) {
	for name, adjust := range map[string]func(*embedded.Config){
		"plain": func(*embedded.Config) {},
		"TLS":   withTLS(embedded.TLS{}),
	} {
		t.Run(name, func(t *testing.T) {
			cluster := start(t, members(3), adjust)
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			var writers sync.WaitGroup
			var written atomic.Int64
			failed := make(chan error, 4)
			for range cap(failed) {
				writers.Go(func() {
					for ctx.Err() == nil {
						if _, err := cluster.Client().Put(context.WithoutCancel(ctx), "key", "value"); err != nil {
							failed <- err
							return
						}
						written.Add(1)
					}
				})
			}
			for range 5 {
				leader, ok := cluster.Leader()
				require.True(t, ok)
				follower := (leader + 1) % 3
				require.NoError(t, cluster.Stop(follower))
				require.NoError(t, cluster.Restart(within(t), follower))
			}
			cancel()
			writers.Wait()
			require.NotZero(t, written.Load())
			require.Empty(t, failed)
		})
	}
}

func TestStopDoesNotWaitForeverForCalls(t *testing.T) {
	cluster := start(t, members(3))
	for name, end := range map[string]func(int) error{"Stop": cluster.Stop, "Kill": cluster.Kill} {
		t.Run(name, func(t *testing.T) {
			for _, i := range []int{1, 2} {
				require.NoError(t, cluster.Kill(i))
			}
			cfg := cluster.ClientConfig()
			cfg.Endpoints = cfg.Endpoints[:1]
			client := newClient(t, cfg)
			failed := make(chan error, 1)
			go func() { // no majority: etcd answers after its request timeout of 5.2 s
				_, err := client.Put(t.Context(), "key", "value")
				failed <- err
			}()
			// Answered by the member alone, most likely after the call above was sent on the same connection.
			_, err := client.Get(within(t), "key", clientv3.WithSerializable())
			require.NoError(t, err)
			begin := time.Now()
			require.NoError(t, end(0))
			require.Less(t, time.Since(begin), 3*time.Second)
			require.NoError(t, cluster.Restart(within(t)))
			<-failed
		})
	}
}

func TestStopDoesNotWaitForWhoeverWaits(t *testing.T) {
	// Requests get an election timeout to be answered. What waits for something to happen does not.
	cluster := start(t, func(c *embedded.Config) { c.Tick, c.ElectionTimeout = 0, time.Second })
	client := cluster.Client()
	<-client.Watch(t.Context(), "key", clientv3.WithCreatedNotify())
	begin := time.Now()
	require.NoError(t, cluster.Stop(0))
	require.Less(t, time.Since(begin), 800*time.Millisecond, "held up by a watch")
	require.NoError(t, cluster.Restart(within(t), 0))

	holder, err := client.Grant(within(t), 60)
	require.NoError(t, err)
	waiter, err := client.Grant(within(t), 60)
	require.NoError(t, err)
	locks := v3lock.NewLockClient(client.ActiveConnection())
	_, err = locks.Lock(within(t), &v3lock.LockRequest{Name: []byte("lock"), Lease: int64(holder.ID)})
	require.NoError(t, err)
	queue := client.Watch(t.Context(), "lock/", clientv3.WithPrefix())
	refused := make(chan error, 1)
	go func() {
		_, err := locks.Lock(t.Context(), &v3lock.LockRequest{Name: []byte("lock"), Lease: int64(waiter.ID)})
		refused <- err
	}()
	<-queue
	begin = time.Now()
	require.NoError(t, cluster.Stop(0))
	require.Less(t, time.Since(begin), 800*time.Millisecond, "held up by a lock")
	require.Error(t, <-refused)
}

func TestStopIsFast(t *testing.T) {
	cluster := start(t, members(3))
	var slowest time.Duration
	for i := range cluster.Size() {
		for _, end := range []func(int) error{cluster.Stop, cluster.Kill} {
			putAndGet(t, cluster.Client())
			begin := time.Now()
			require.NoError(t, end(i))
			if took := time.Since(begin); took > slowest {
				slowest = took
			}
			require.NoError(t, cluster.Restart(within(t), i))
		}
	}
	require.Less(t, slowest, 900*time.Millisecond, "etcd alone takes a second, for idle connections between the members")
}
