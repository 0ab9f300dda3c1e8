package conformance

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/barrier"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/session"
)

// A passing is what a goroutine that called Await sends back.
type passing struct {
	generation int64
	err        error
}

func awaitLater(ctx context.Context, c *barrier.Cyclic) <-chan passing {
	result := make(chan passing, 1)
	go func() {
		generation, err := c.Await(ctx)
		result <- passing{generation, err}
	}()
	return result
}

// barrierPrefix is where a barrier's keys are.
func barrierPrefix(kind, name string) string { return "/tenure/barriers/" + kind + "/" + name + "/" }

func partyKeys(kind, name string) string { return barrierPrefix(kind, name) + "parties/" }

// named requires that an error is about a broken barrier and says who broke it
// and how.
func named(t *testing.T, err error, who string, why barrier.Reason) {
	t.Helper()
	require.ErrorIs(t, err, barrier.ErrBroken)
	var broken *barrier.BrokenError
	require.ErrorAs(t, err, &broken)
	require.Equal(t, who, broken.By.Session, "%v", err)
	require.Equal(t, why, broken.Reason, "%v", err)
}

func sessionNamed(t *testing.T, c *harness.Cluster, name string) *session.Session {
	t.Helper()
	return c.Session(t, session.WithName(name))
}

// kill ends a session as a crash does, once its lease has run out.
func kill(t *testing.T, s *session.Session) {
	t.Helper()
	epoch, err := s.Epoch(harness.Context(t))
	require.NoError(t, err)
	_, err = s.Client().Revoke(harness.Context(t), epoch.Lease())
	require.NoError(t, err)
}

func TestTheGenerationsOfACyclicBarrierPassOneAfterTheOther(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		const parties, generations = 5, 10
		name := harness.Name(t)
		var arrived [generations]atomic.Int64
		var group sync.WaitGroup
		for range parties {
			b := barrier.NewCyclic(c.Session(t), name, parties)
			group.Go(func() {
				for i := range generations {
					arrived[i].Add(1)
					generation, err := b.Await(harness.Context(t))
					if !errors.Is(err, nil) || generation != int64(i+1) || arrived[i].Load() != parties {
						t.Errorf("generation %d of %d parties: %d, %v", i+1, arrived[i].Load(), generation, err)
						return
					}
				}
			})
		}
		group.Wait()
		require.Empty(t, c.Keys(t, partyKeys("cyclic", name)))
		require.Len(t, c.Keys(t, barrierPrefix("cyclic", name)), 1, "the record stays")
	})
}

func TestGoroutinesOfOneSessionArePartiesOfTheirOwn(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		b := barrier.NewCyclic(c.Session(t), harness.Name(t), 3)
		for generation := range int64(3) {
			var waiting []<-chan passing
			for range 3 {
				waiting = append(waiting, awaitLater(harness.Context(t), b))
			}
			for _, w := range waiting {
				require.Equal(t, passing{generation: generation + 1}, harness.Got(t, w))
			}
		}
	})
}

func TestOneEventWakesAllParties(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		const parties = 20
		name := harness.Name(t)
		ctx, stop := context.WithCancel(harness.Context(t))
		events := c.Client().Watch(ctx, barrierPrefix("cyclic", name)+"gate/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		<-events
		var waiting []<-chan passing
		for range parties {
			waiting = append(waiting, awaitLater(harness.Context(t), barrier.NewCyclic(c.Session(t), name, parties)))
		}
		for _, w := range waiting {
			require.NoError(t, harness.Got(t, w).err)
		}
		// What parties watch: the gate comes, and goes as the record is written.
		answers := 0
		for gone := false; !gone; {
			answer := harness.Got(t, events)
			answers++
			for _, ev := range answer.Events {
				gone = gone || ev.Type == clientv3.EventTypeDelete
			}
		}
		stop()
		require.Equal(t, 2, answers)
	})
}
