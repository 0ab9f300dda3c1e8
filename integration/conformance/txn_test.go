package conformance

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// handles are one of each kind, of one session.
func handles(t *testing.T, s *session.Session) map[string]*lock.Held {
	t.Helper()
	ctx, name := harness.Context(t), harness.Name(t)
	rw, permits := lock.NewRWMutex(s, name), lock.NewSemaphore(s, name, 3)
	reader, err := rw.RLock(ctx)
	require.NoError(t, err)
	writer, err := lock.NewRWMutex(s, name+"-written").Lock(ctx)
	require.NoError(t, err)
	written, err := lock.NewRWMutex(s, name+"-downgraded").Lock(ctx)
	require.NoError(t, err)
	downgraded, err := lock.NewRWMutex(s, name+"-downgraded").Downgrade(ctx, written)
	require.NoError(t, err)
	two, err := permits.Acquire(ctx, 2)
	require.NoError(t, err)
	return map[string]*lock.Held{
		"mutex": mustLock(t, lock.NewMutex(s, name)), "reader": reader, "writer": writer,
		"downgraded": downgraded, "permits": two,
	}
}

func TestATransactionTellsTheUsersConditionFromTheLocks(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		for kind, held := range handles(t, c.Session(t)) {
			data := "/data/" + harness.Name(t)
			write := func(before, value string) *clientv3.TxnResponse {
				resp, err := held.Txn(harness.Context(t)).
					If(clientv3.Compare(clientv3.Value(data), "=", before)).
					Then(clientv3.OpPut(data, value)).
					Else(clientv3.OpGet(data)).
					Commit()
				require.NoError(t, err, kind)
				require.Positive(t, resp.Header.Revision)
				return resp
			}
			resp := write("a", "b")
			require.False(t, resp.Succeeded, "%s: there is nothing yet", kind)
			require.Empty(t, resp.Responses[0].GetResponseRange().Kvs)
			_, err := c.Client().Put(harness.Context(t), data, "a")
			require.NoError(t, err)
			require.True(t, write("a", "b").Succeeded, kind)
			resp = write("a", "c")
			require.False(t, resp.Succeeded, kind)
			require.Equal(t, "b", string(resp.Responses[0].GetResponseRange().Kvs[0].Value), kind)
			mustUnlock(t, held)
		}
	})
}

// The holder has not heard of it: somebody has revoked its lease, or deleted the
// key, and it is not told.
func TestALateTransactionWritesNothingAndEndsTheHandle(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		s := c.SessionOn(t, client, session.WithTTL(time.Minute))
		for kind, held := range handles(t, s) {
			data := "/data/" + harness.Name(t)
			key, _ := held.Key()
			_, err := c.Client().Delete(harness.Context(t), key)
			require.NoError(t, err)
			require.True(t, held.Valid(), "%s: it cannot know", kind)

			_, err = held.Txn(harness.Context(t)).
				Then(clientv3.OpPut(data, "late")).
				Else(clientv3.OpPut(data, "late, too")).
				Commit()
			require.ErrorIs(t, err, lock.ErrNotHeld, kind)
			require.ErrorIs(t, err, lock.ErrLost, kind)
			require.False(t, held.Valid(), kind)
			require.ErrorIs(t, context.Cause(held.Context()), lock.ErrLost, kind)
			require.ErrorIs(t, held.Unlock(harness.Context(t)), lock.ErrLost, kind)
			require.Empty(t, c.Keys(t, data), kind)
		}
		mu := lock.NewMutex(s, harness.Name(t))
		held := mustLock(t, mu)
		faults.Deafen()
		epoch, err := s.Epoch(harness.Context(t))
		require.NoError(t, err)
		_, err = c.Client().Revoke(harness.Context(t), epoch.Lease())
		require.NoError(t, err)
		_, err = held.Txn(harness.Context(t)).Then(clientv3.OpPut("/data/"+mu.Name(), "late")).Commit()
		require.ErrorIs(t, err, lock.ErrNotHeld)
		require.ErrorIs(t, err, session.ErrLost)
		require.Error(t, held.Context().Err())
	})
}

func TestATransactionOfAHandleThatHasEndedIsNotSent(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		mu := lock.NewMutex(c.SessionOn(t, client), harness.Name(t))
		held := mustLock(t, mu)
		mustUnlock(t, held)
		var sent atomic.Int64
		faults.OnCall(func(req any, call func() error) error {
			if _, ok := req.(*pb.TxnRequest); ok {
				sent.Add(1)
			}
			return call()
		})
		_, err := held.Txn(harness.Context(t)).Then(clientv3.OpPut("/data/"+mu.Name(), "late")).Commit()
		require.ErrorIs(t, err, lock.ErrNotHeld)
		require.ErrorIs(t, err, lock.ErrUnlocked)
		require.NotErrorIs(t, err, lock.ErrLost)
		require.Zero(t, sent.Load())
	})
}

// What etcd or the caller's patience makes of it is neither of the two.
func TestATransactionThatWasNotAnsweredIsNoVerdictOnTheLock(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		client, faults := c.Dial(t)
		held := mustLock(t, lock.NewMutex(c.SessionOn(t, client, session.WithTTL(time.Minute)), harness.Name(t)))
		faults.OnCall(once(func(req any) bool { _, ok := req.(*pb.TxnRequest); return ok }))
		data := "/data/" + harness.Name(t)
		_, err := held.Txn(harness.Context(t)).Then(clientv3.OpPut(data, "written")).Commit()
		require.ErrorContains(t, err, "made to fail")
		require.NotErrorIs(t, err, lock.ErrNotHeld)
		require.True(t, held.Valid())
		require.Len(t, c.Keys(t, data), 1, "it was carried out, and once only")
		mustUnlock(t, held)
	})
}

func TestATransactionUnderSeveralLocksNeedsAllOfThem(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s, name := c.Session(t, session.WithTTL(time.Minute)), harness.Name(t)
		held, err := lock.All(harness.Context(t), lock.NewMutex(s, name+"-a"), lock.NewRWMutex(s, name+"-b").ReadSide())
		require.NoError(t, err)
		data := "/data/" + name
		resp, err := held.Txn(harness.Context(t)).Then(clientv3.OpPut(data, "written")).Commit()
		require.NoError(t, err)
		require.True(t, resp.Succeeded)

		key, _ := held.Each()[1].Key()
		_, err = c.Client().Delete(harness.Context(t), key)
		require.NoError(t, err)
		_, err = held.Txn(harness.Context(t)).Then(clientv3.OpDelete(data)).Commit()
		require.ErrorIs(t, err, lock.ErrNotHeld)
		require.ErrorContains(t, err, name+"-b")
		require.Len(t, c.Keys(t, data), 1)
		require.True(t, held.Each()[0].Valid(), "the other one is still held")
		require.Error(t, held.Unlock(harness.Context(t)))
	})
}
