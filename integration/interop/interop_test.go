// Package interop uses one name from Tenure and from etcd's own programs.
package interop

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/lock"
)

func TestMain(m *testing.M) { harness.Main(m, 1) }

// peer is another program's mutex on the prefix.
type peer struct {
	lock   func(context.Context) error
	unlock func(context.Context) error
}

// peers are the programs that queue on a prefix as etcd's concurrency package
// does: itself, and the lock service that etcd serves, which `etcdctl lock` and
// clients in other languages use.
var peers = map[string]func(t *testing.T, c *harness.Cluster, prefix string) peer{
	"concurrency": func(t *testing.T, c *harness.Cluster, prefix string) peer {
		client, _ := c.Dial(t)
		s, err := concurrency.NewSession(client)
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		mu := concurrency.NewMutex(s, prefix)
		return peer{mu.Lock, mu.Unlock}
	},
	"v3lock": func(t *testing.T, c *harness.Cluster, prefix string) peer {
		client, _ := c.Dial(t)
		lease, err := client.Grant(harness.Context(t), 60)
		require.NoError(t, err)
		service := v3lockpb.NewLockClient(client.ActiveConnection())
		var key []byte
		return peer{
			lock: func(ctx context.Context) error {
				answer, err := service.Lock(ctx, &v3lockpb.LockRequest{Name: []byte(prefix), Lease: int64(lease.ID)})
				key = answer.GetKey()
				return err
			},
			unlock: func(ctx context.Context) error {
				_, err := service.Unlock(ctx, &v3lockpb.UnlockRequest{Key: key})
				return err
			},
		}
	},
}

func eachPeer(t *testing.T, test func(t *testing.T, c *harness.Cluster, mu *lock.Mutex, other peer)) {
	for name, connect := range peers {
		t.Run(name, func(t *testing.T) {
			harness.OneMember(t, func(c *harness.Cluster) {
				prefix := "/shared/" + harness.Name(t)
				mu := lock.NewMutex(c.Session(t), "orders", lock.AtKey(prefix))
				require.Equal(t, prefix+"/", mu.Prefix())
				test(t, c, mu, connect(t, c, prefix))
			})
		})
	}
}

func TestTheOtherProgramWaitsForUs(t *testing.T) {
	eachPeer(t, func(t *testing.T, c *harness.Cluster, mu *lock.Mutex, other peer) {
		held, err := mu.Lock(harness.Context(t))
		require.NoError(t, err)
		result := make(chan error, 1)
		go func() { result <- other.lock(harness.Context(t)) }()
		c.AwaitKeys(t, mu.Prefix(), 2)
		entries, err := mu.Queue(harness.Context(t))
		require.NoError(t, err)
		require.NotEmpty(t, entries[0].Owner.Session)
		require.Empty(t, entries[1].Owner.Session, "the other program does not say who it is")
		select {
		case <-result:
			require.FailNow(t, "both hold")
		default:
		}
		require.NoError(t, held.Unlock(harness.Context(t)))
		require.NoError(t, harness.Got(t, result))
		require.NoError(t, other.unlock(harness.Context(t)))
	})
}

func TestWeWaitForTheOtherProgram(t *testing.T) {
	eachPeer(t, func(t *testing.T, c *harness.Cluster, mu *lock.Mutex, other peer) {
		require.NoError(t, other.lock(harness.Context(t)))
		_, err := mu.TryLock(harness.Context(t))
		require.ErrorIs(t, err, lock.ErrLocked)
		short, cancel := context.WithTimeout(harness.Context(t), 50*time.Millisecond)
		defer cancel()
		_, err = mu.Lock(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		c.AwaitKeys(t, mu.Prefix(), 1)

		result := make(chan error, 1)
		go func() {
			result <- mu.Do(harness.Context(t), func(context.Context, *lock.Held) error { return nil })
		}()
		c.AwaitKeys(t, mu.Prefix(), 2)
		require.NoError(t, other.unlock(harness.Context(t)))
		require.NoError(t, harness.Got(t, result))
		require.Empty(t, c.Keys(t, mu.Prefix()))
	})
}

func TestOrderIsKeptAcrossPrograms(t *testing.T) {
	eachPeer(t, func(t *testing.T, c *harness.Cluster, mu *lock.Mutex, other peer) {
		held, err := mu.Lock(harness.Context(t))
		require.NoError(t, err)
		order := make(chan string, 2)
		done := make(chan error, 2)
		go func() {
			err := other.lock(harness.Context(t))
			order <- "other"
			if err == nil {
				err = other.unlock(harness.Context(t))
			}
			done <- err
		}()
		c.AwaitKeys(t, mu.Prefix(), 2)
		again := lock.NewMutex(c.Session(t), "orders", lock.AtKey(mu.Prefix()[:len(mu.Prefix())-1]))
		go func() {
			done <- again.Do(harness.Context(t), func(context.Context, *lock.Held) error {
				order <- "we"
				return nil
			})
		}()
		c.AwaitKeys(t, mu.Prefix(), 3)
		require.NoError(t, held.Unlock(harness.Context(t)))
		require.Equal(t, "other", harness.Got(t, order))
		require.Equal(t, "we", harness.Got(t, order))
		require.NoError(t, harness.Got(t, done))
		require.NoError(t, harness.Got(t, done))
	})
}
