package conformance

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// mutexes are n mutexes of one session.
func mutexes(s *session.Session, name string, n int) []lock.Lockable {
	locks := make([]lock.Lockable, n)
	for i := range locks {
		locks[i] = lock.NewMutex(s, fmt.Sprintf("%s-%03d", name, i))
	}
	return locks
}

func TestAllTakesWhatIsFreeInOneTransaction(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		s, name := c.SessionOn(t, client), harness.Name(t)
		locks := append(mutexes(s, name, lock.MaxAll-2),
			lock.NewRWMutex(s, name+"-r").ReadSide(), lock.NewRWMutex(s, name+"-w").WriteSide())
		var mu sync.Mutex
		txns := 0
		faults.OnCall(func(req any, call func() error) error {
			if _, ok := req.(*pb.TxnRequest); ok {
				mu.Lock()
				txns++
				mu.Unlock()
			}
			return call()
		})
		held, err := lock.All(harness.Context(t), locks...)
		require.NoError(t, err)
		require.Equal(t, 1, txns)
		require.True(t, held.Valid())
		require.Positive(t, held.Remaining())
		require.Len(t, held.Each(), len(locks))
		require.True(t, commits(t, c, held.Guard()))
		require.Equal(t, locks[3].Name(), held.Each()[3].Name())

		require.NoError(t, held.Unlock(harness.Context(t)))
		require.ErrorIs(t, held.Unlock(harness.Context(t)), lock.ErrUnlocked)
		require.False(t, held.Valid())
		require.ErrorIs(t, context.Cause(held.Context()), lock.ErrUnlocked)
		require.Empty(t, c.Keys(t, s.Namespace()+"locks/"+name))
		require.Empty(t, c.Keys(t, s.Namespace()+"rwlocks/"+name))
	})
}

func TestAllWaitsForWhatIsTakenAndThenHasAll(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		other := c.Session(t)
		taken := must(t, lock.NewMutex(other, name+"-001").Lock)
		reader := must(t, lock.NewRWMutex(other, name+"-rw").RLock)
		s := c.Session(t)
		locks := append(mutexes(s, name, 3), lock.NewRWMutex(s, name+"-rw").WriteSide())
		result := make(chan error, 1)
		go func() {
			result <- lock.DoAll(harness.Context(t), locks, func(_ context.Context, h *lock.HeldAll) error {
				if !h.Valid() {
					return fmt.Errorf("not held")
				}
				return nil
			})
		}()
		c.AwaitKeys(t, lock.NewMutex(other, name+"-001").Prefix(), 2)
		mustUnlock(t, taken)
		c.AwaitKeys(t, lock.NewRWMutex(other, name+"-rw").Prefix(), 2)
		mustUnlock(t, reader)
		require.NoError(t, harness.Got(t, result))
		require.Empty(t, c.Keys(t, s.Namespace()+"locks/"+name))
	})
}

func TestAnAllThatGivesUpHoldsNone(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		other := c.Session(t)
		taken := must(t, lock.NewMutex(other, name+"-001").Lock)
		s := c.Session(t)
		ctx, giveUp := context.WithCancel(harness.Context(t))
		result := make(chan error, 1)
		go func() {
			_, err := lock.All(ctx, mutexes(s, name, 3)...)
			result <- err
		}()
		c.AwaitKeys(t, lock.NewMutex(other, name+"-001").Prefix(), 2)
		giveUp()
		require.ErrorIs(t, harness.Got(t, result), context.Canceled)
		c.AwaitKeys(t, s.Namespace()+"locks/"+name, 1)
		mustUnlock(t, taken)
		held, err := lock.All(harness.Context(t), mutexes(s, name, 3)...)
		require.NoError(t, err, "the local turns are free again")
		require.NoError(t, held.Unlock(harness.Context(t)))
	})
}

func TestAnAllWhoseAnswerWasLostHoldsEachOnce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		s, name := c.SessionOn(t, client), harness.Name(t)
		prefix := s.Namespace() + "locks/" + name
		faults.OnCall(once(func(req any) bool { return harness.Creates(req, prefix) }))
		held, err := lock.All(harness.Context(t), mutexes(s, name, 5)...)
		require.NoError(t, err)
		require.Len(t, c.Keys(t, prefix), 5)
		require.True(t, commits(t, c, held.Guard()))
		require.NoError(t, held.Unlock(harness.Context(t)))
		require.Empty(t, c.Keys(t, prefix))
	})
}

func TestCallersOfAllNeverWaitForEachOther(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		var group sync.WaitGroup
		inside := make([]int, 4) // each guarded by its lock
		for i := range 6 {
			s := c.Session(t)
			group.Go(func() {
				for round := range 10 {
					a, b := (i+round)%4, (i+round*3+1)%4
					if a == b {
						b = (b + 1) % 4
					}
					locks := []lock.Lockable{
						lock.NewMutex(s, fmt.Sprintf("%s-%d", name, a)), lock.NewMutex(s, fmt.Sprintf("%s-%d", name, b)),
					}
					err := lock.DoAll(harness.Context(t), locks, func(context.Context, *lock.HeldAll) error {
						inside[a]++
						inside[b]++
						return nil
					})
					require.NoError(t, err)
				}
			})
		}
		group.Wait()
		require.Equal(t, 120, inside[0]+inside[1]+inside[2]+inside[3])
	})
}

func TestLosingOneOfAllEndsTheContext(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s, name := c.Session(t, session.WithTTL(session.MinTTL)), harness.Name(t)
		held, err := lock.All(harness.Context(t), mutexes(s, name, 3)...)
		require.NoError(t, err)
		key, _ := held.Each()[1].Key()
		_, err = c.Client().Delete(harness.Context(t), key)
		require.NoError(t, err)
		require.ErrorIs(t, harness.Ended(t, held.Context()), lock.ErrLost)
		require.False(t, held.Valid())
		err = held.Unlock(harness.Context(t))
		require.ErrorIs(t, err, lock.ErrLost)
		require.Empty(t, c.Keys(t, s.Namespace()+"locks/"+name), "the others were released all the same")
	})
}

func TestLocksThatCannotBeTakenTogetherAreRefused(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s, name := c.Session(t), harness.Name(t)
		rw := lock.NewRWMutex(s, name)
		for what, locks := range map[string][]lock.Lockable{
			"none":               {},
			"too many":           mutexes(s, name, lock.MaxAll+1),
			"one twice":          {lock.NewMutex(s, name), lock.NewMutex(s, name)},
			"both sides":         {rw.ReadSide(), rw.WriteSide()},
			"different sessions": {lock.NewMutex(s, name), lock.NewMutex(c.Session(t), name+"-2")},
		} {
			_, err := lock.All(harness.Context(t), locks...)
			require.ErrorIs(t, err, lock.ErrMany, what)
		}
		_, err := lock.All(harness.Context(t), lock.NewMutex(s, ""))
		require.ErrorIs(t, err, lock.ErrName)
		held := must(t, lock.NewMutex(s, name).Lock)
		_, err = lock.All(held.Context(), lock.NewMutex(s, name+"-2"), lock.NewMutex(s, name))
		require.ErrorIs(t, err, lock.ErrDeadlock)
		mustUnlock(t, held)
		require.Empty(t, c.Keys(t, s.Namespace()+"locks/"+name))
	})
}

func TestAllUsesLocksThatTheSessionRetains(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s, name := c.Session(t), harness.Name(t)
		retained := lock.NewMutex(s, name, lock.WithRetention(lock.MaxRetention))
		mustUnlock(t, must(t, retained.Lock))
		require.Len(t, c.Keys(t, retained.Prefix()), 1)
		held, err := lock.All(harness.Context(t), lock.NewMutex(s, name+"-2"), retained)
		require.NoError(t, err)
		require.True(t, held.Valid())
		require.NoError(t, held.Unlock(harness.Context(t)))
	})
}
