package conformance

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/barrier"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/session"
)

func TestADifferentPartyCountIsAnErrorWithBothNumbersAndLeavesNoKey(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		waiting := awaitLater(harness.Context(t), barrier.NewCyclic(c.Session(t), name, 2))
		c.AwaitKeys(t, partyKeys("cyclic", name), 1)
		_, err := barrier.NewCyclic(c.Session(t), name, 7).Await(harness.Context(t))
		require.ErrorIs(t, err, barrier.ErrParties)
		require.Contains(t, err.Error(), "7 here, 2 there")
		require.Len(t, c.Keys(t, partyKeys("cyclic", name)), 1)
		_, err = barrier.NewCyclic(c.Session(t), name, 2).Await(harness.Context(t))
		require.NoError(t, err)
		require.NoError(t, harness.Got(t, waiting).err)

		entries := enterAll(t, c, name, 2)
		_, err = barrier.NewDouble(c.Session(t), name, 3).Enter(harness.Context(t))
		require.ErrorIs(t, err, barrier.ErrParties)
		require.Contains(t, err.Error(), "3 here, 2 there")
		require.Len(t, c.Keys(t, partyKeys("double", name)), 2)
		leaveAll(t, entries)

		l := barrier.NewLatch(c.Session(t), name)
		require.NoError(t, l.Set(harness.Context(t), 2))
		err = l.Set(harness.Context(t), 3)
		require.ErrorIs(t, err, barrier.ErrParties)
		require.Contains(t, err.Error(), "3 here, 2 there")
	})
}

// enterAll lets so many parties in.
func enterAll(t *testing.T, c *harness.Cluster, name string, parties int) []*barrier.Entry {
	t.Helper()
	entries := make([]*barrier.Entry, parties)
	var group sync.WaitGroup
	for i := range parties {
		d := barrier.NewDouble(c.Session(t), name, parties)
		group.Go(func() {
			entry, err := d.Enter(harness.Context(t))
			if err != nil {
				t.Error(err)
			}
			entries[i] = entry
		})
	}
	group.Wait()
	return entries
}

func leaveAll(t *testing.T, entries []*barrier.Entry) {
	t.Helper()
	var group sync.WaitGroup
	for _, e := range entries {
		group.Go(func() {
			if err := e.Leave(harness.Context(t)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestAnExtraPartyIsRefusedAndLeavesNoKey(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		const parties, extra = 3, 4
		name := harness.Name(t)
		// All at once: exactly so many get in.
		results := make(chan error, parties+extra)
		inside := make(chan *barrier.Entry, parties+extra)
		for range parties + extra {
			d := barrier.NewDouble(c.Session(t), name, parties)
			go func() {
				entry, err := d.Enter(harness.Context(t))
				if err == nil {
					inside <- entry
				}
				results <- err
			}()
		}
		refused := 0
		for range parties + extra {
			if err := harness.Got(t, results); err != nil {
				require.ErrorIs(t, err, barrier.ErrFull)
				refused++
			}
		}
		require.Equal(t, extra, refused)
		c.AwaitKeys(t, partyKeys("double", name), parties)

		_, err := barrier.NewDouble(c.Session(t), name, parties).Enter(harness.Context(t))
		require.ErrorIs(t, err, barrier.ErrFull)
		require.Len(t, c.Keys(t, partyKeys("double", name)), parties)
		var entries []*barrier.Entry
		for range parties {
			entries = append(entries, <-inside)
		}
		leaveAll(t, entries)
		require.Empty(t, c.Keys(t, partyKeys("double", name)))
	})
}

func TestNobodyLeavesBeforeAllWantTo(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		const parties = 4
		name := harness.Name(t)
		d := barrier.NewDouble(c.Session(t), name, parties)
		for range 2 {
			entries := enterAll(t, c, name, parties)
			var want atomic.Int64
			var group sync.WaitGroup
			for i, e := range entries {
				if i > 0 { // the others are at the exit
					awaitStatus(t, d, func(st barrier.Status) bool { return len(st.Present) == i && len(st.Inside) == parties-i })
				}
				want.Add(1)
				group.Go(func() {
					if err := e.Leave(harness.Context(t)); err != nil || want.Load() != parties {
						t.Errorf("left when %d of %d wanted to: %v", want.Load(), parties, err)
					}
				})
			}
			group.Wait()
			for _, e := range entries {
				require.ErrorIs(t, e.Leave(harness.Context(t)), barrier.ErrLeft)
				require.ErrorIs(t, harness.Ended(t, e.Context()), barrier.ErrLeft)
			}
			require.Empty(t, c.Keys(t, partyKeys("double", name)))
		}
	})
}

func TestTheContextOfAPartyInsideEndsWithItsSession(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s, name := c.Session(t), harness.Name(t)
		entry, err := barrier.NewDouble(s, name, 1).Enter(harness.Context(t))
		require.NoError(t, err)
		require.NoError(t, entry.Context().Err())
		kill(t, s)
		require.ErrorIs(t, harness.Ended(t, entry.Context()), barrier.ErrLost)
		require.ErrorIs(t, entry.Leave(harness.Context(t)), barrier.ErrLost)
		// All have died inside, and nobody was left to write that down.
		leaveAll(t, enterAll(t, c, name, 1))
	})
}

func TestTheActionRunsOnceBeforeAnybodyPasses(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		const parties, generations = 4, 5
		name := harness.Name(t)
		var ran atomic.Int64
		action := barrier.WithAction(func(_ context.Context, generation int64) error {
			if ran.Add(1) != generation {
				return fmt.Errorf("run %d times for generation %d", ran.Load(), generation)
			}
			return nil
		})
		var group sync.WaitGroup
		for range parties {
			b := barrier.NewCyclic(c.Session(t), name, parties, action)
			group.Go(func() {
				for range generations {
					generation, err := b.Await(harness.Context(t))
					if err != nil || ran.Load() < generation {
						t.Errorf("generation %d, ran %d times: %v", generation, ran.Load(), err)
						return
					}
				}
			})
		}
		group.Wait()
		require.EqualValues(t, generations, ran.Load())
	})
}

func TestAFailedActionBreaksTheGeneration(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		for text, f := range map[string]func(context.Context, int64) error{
			"no space left":  func(context.Context, int64) error { return errors.New("no space left") },
			"index 3":        func(context.Context, int64) error { panic("index 3") },
			"did not return": func(context.Context, int64) error { runtime.Goexit(); return nil },
		} {
			name := harness.Name(t)
			action := barrier.WithAction(f)
			first := awaitLater(harness.Context(t), barrier.NewCyclic(sessionNamed(t, c, "runner"), name, 2, action))
			c.AwaitKeys(t, partyKeys("cyclic", name), 1)
			_, err := barrier.NewCyclic(c.Session(t), name, 2, action).Await(harness.Context(t))
			for _, err := range []error{err, harness.Got(t, first).err} {
				named(t, err, "runner", barrier.ReasonAction)
				require.Contains(t, err.Error(), text)
			}
			c.AwaitKeys(t, partyKeys("cyclic", name), 0)
		}
	})
}

func TestAPartyThatDiesStopsTheAction(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		running := make(chan struct{})
		action := barrier.WithAction(func(ctx context.Context, _ int64) error {
			close(running)
			<-ctx.Done()
			return nil // even so
		})
		first := awaitLater(harness.Context(t), barrier.NewCyclic(c.Session(t), name, 2, action))
		c.AwaitKeys(t, partyKeys("cyclic", name), 1)
		mortal := sessionNamed(t, c, "mortal")
		second := awaitLater(harness.Context(t), barrier.NewCyclic(mortal, name, 2, action))
		harness.Got(t, running)
		kill(t, mortal)
		named(t, harness.Got(t, first).err, "mortal", barrier.ReasonDied)
		require.ErrorIs(t, harness.Got(t, second).err, barrier.ErrLost)
	})
}

func TestClosingASessionWaitsForItsAction(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		s, running, finish := c.Session(t), make(chan struct{}), make(chan struct{})
		action := barrier.WithAction(func(ctx context.Context, _ int64) error {
			close(running)
			<-ctx.Done()
			<-finish
			return nil
		})
		name := harness.Name(t)
		waiting := awaitLater(harness.Context(t), barrier.NewCyclic(s, name, 1, action))
		harness.Got(t, running)
		ctx, cancel := context.WithCancel(harness.Context(t))
		closed := make(chan error, 1)
		go func() { closed <- s.Close(ctx) }()
		awaitClosing(t, s)
		cancel()
		require.ErrorIs(t, harness.Got(t, closed), session.ErrWorkRunning)
		require.NotEmpty(t, c.Keys(t, partyKeys("cyclic", name)), "what the action stands on was given back")
		close(finish)
		require.ErrorIs(t, harness.Got(t, waiting).err, barrier.ErrLost)
		require.NoError(t, s.Close(harness.Context(t)))
	})
}

// awaitClosing waits until a session is being closed.
func awaitClosing(t *testing.T, s *session.Session) {
	t.Helper()
	for {
		if _, err := s.Epoch(harness.Context(t)); errors.Is(err, session.ErrClosed) {
			return
		}
	}
}

func TestResetSendsEverybodyAwayAndTheBarrierGoesOn(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		b := barrier.NewCyclic(sessionNamed(t, c, "operator"), name, 2)
		require.NoError(t, b.Reset(harness.Context(t)), "nobody waits")
		waiting := awaitLater(harness.Context(t), barrier.NewCyclic(c.Session(t), name, 2))
		c.AwaitKeys(t, partyKeys("cyclic", name), 1)
		require.NoError(t, b.Reset(harness.Context(t)))
		named(t, harness.Got(t, waiting).err, "operator", barrier.ReasonReset)
		again := awaitLater(harness.Context(t), barrier.NewCyclic(c.Session(t), name, 2))
		_, err := b.Await(harness.Context(t))
		require.NoError(t, err)
		require.NoError(t, harness.Got(t, again).err)
	})
}

func TestAStatusShowsWhoIsThereAndWhoIsMissing(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		b := barrier.NewCyclic(sessionNamed(t, c, "early"), name, 3)
		st, err := b.Status(harness.Context(t))
		require.NoError(t, err)
		require.Equal(t, barrier.Status{Parties: 3, Missing: 3}, st)
		ctx, cancel := context.WithCancel(harness.Context(t))
		waiting := awaitLater(ctx, b)
		c.AwaitKeys(t, partyKeys("cyclic", name), 1)
		st, err = barrier.NewCyclic(c.Session(t), name, 9).Status(harness.Context(t))
		require.NoError(t, err)
		require.Equal(t, 3, st.Parties)
		require.Equal(t, 2, st.Missing)
		require.Len(t, st.Present, 1)
		require.Equal(t, "early", st.Present[0].Session)
		require.NotZero(t, st.Present[0].PID)
		cancel()
		require.ErrorIs(t, harness.Got(t, waiting).err, context.Canceled)
	})
}

func TestNobodyPassesAHeldBarrier(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		for _, opts := range [][]barrier.HoldOption{nil, {barrier.Persistent()}} {
			name := harness.Name(t)
			b := barrier.New(sessionNamed(t, c, "holder"), name)
			require.NoError(t, b.Wait(harness.Context(t)), "it is free")
			require.ErrorIs(t, b.Release(harness.Context(t)), barrier.ErrNotHeld)
			require.NoError(t, b.Hold(harness.Context(t), opts...))
			other := barrier.New(c.Session(t), name)
			err := other.Hold(harness.Context(t))
			require.ErrorIs(t, err, barrier.ErrHeld)
			require.Contains(t, err.Error(), "holder")
			var released atomic.Bool
			passed := make(chan bool, 3)
			for range 3 {
				w := barrier.New(c.Session(t), name)
				go func() {
					err := w.Wait(harness.Context(t))
					passed <- err == nil && released.Load()
				}()
			}
			ctx, cancel := context.WithCancel(harness.Context(t))
			cancel()
			require.ErrorIs(t, other.Wait(ctx), context.Canceled)
			released.Store(true)
			require.NoError(t, other.Release(harness.Context(t)), "anybody may")
			for range 3 {
				require.True(t, harness.Got(t, passed))
			}
			require.Len(t, c.Keys(t, barrierPrefix("hold", name)), 1, "the record stays")
		}
	})
}

func TestAPersistentHoldSurvivesItsMakerAndAnotherDoesNot(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		lasting, mortal := harness.Name(t), harness.Name(t)
		maker := sessionNamed(t, c, "maker")
		require.NoError(t, barrier.New(maker, lasting).Hold(harness.Context(t), barrier.Persistent()))
		require.NoError(t, barrier.New(maker, mortal).Hold(harness.Context(t)))
		waiting := make(chan error, 1)
		s := c.Session(t)
		go func() { waiting <- barrier.New(s, mortal).Wait(harness.Context(t)) }()
		require.NoError(t, maker.Close(harness.Context(t)))

		st, err := barrier.New(s, lasting).Status(harness.Context(t))
		require.NoError(t, err)
		require.True(t, st.Held)
		require.True(t, st.Persistent)
		require.Equal(t, "maker", st.By.Session)

		named(t, harness.Got(t, waiting), "maker", barrier.ReasonDied)
		named(t, barrier.New(s, mortal).Wait(harness.Context(t)), "maker", barrier.ReasonDied) // who comes later is told the same
		st, err = barrier.New(s, mortal).Status(harness.Context(t))
		require.NoError(t, err)
		require.True(t, st.Broken)
		require.False(t, st.Held)
		named(t, barrier.New(s, mortal).Release(harness.Context(t)), "maker", barrier.ReasonDied)
		require.NoError(t, barrier.New(s, mortal).Wait(harness.Context(t)))
		require.NoError(t, barrier.New(s, mortal).Hold(harness.Context(t)))
		require.NoError(t, barrier.New(s, lasting).Release(harness.Context(t)))
	})
}

func TestALatchOpensWithItsLastContributionAndStaysOpen(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		const count = 8
		name := harness.Name(t)
		var made atomic.Int64
		var group sync.WaitGroup
		for range 3 {
			l := barrier.NewLatch(c.Session(t), name)
			group.Go(func() {
				if err := l.Wait(harness.Context(t)); err != nil || made.Load() < count {
					t.Errorf("open after %d of %d contributions: %v", made.Load(), count, err)
				}
			})
		}
		for i := range count {
			l := barrier.NewLatch(c.Session(t), name)
			group.Go(func() {
				if i == 3 {
					if err := l.Set(harness.Context(t), count); err != nil {
						t.Error(err)
					}
				}
				made.Add(1)
				for range 2 { // a repetition does not count
					if err := l.CountDown(harness.Context(t), fmt.Sprintf("part/%d", i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		l := barrier.NewLatch(c.Session(t), name)
		require.NoError(t, l.CountDown(harness.Context(t), "one too many"))
		require.NoError(t, l.Wait(harness.Context(t)))
		st, err := l.Status(harness.Context(t))
		require.NoError(t, err)
		require.True(t, st.Open)
		require.Contains(t, st.Made, "part/0")
		require.Len(t, st.Made, count+1)
	})
}

func TestALatchThatIsSetLastOpensAtOnce(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		l := barrier.NewLatch(c.Session(t), harness.Name(t))
		require.NoError(t, l.CountDown(harness.Context(t), "a"))
		require.NoError(t, l.CountDown(harness.Context(t), "b"))
		require.NoError(t, l.Set(harness.Context(t), 2))
		require.NoError(t, l.Wait(harness.Context(t)))
	})
}

func TestThoseWhoWaitForALatchAreToldThatItWasRemoved(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		l := barrier.NewLatch(c.Session(t), name)
		require.NoError(t, l.Set(harness.Context(t), 2))
		require.NoError(t, l.CountDown(harness.Context(t), "a"))
		client, faults := c.Dial(t)
		counted := make(chan struct{}, 10)
		faults.OnCall(func(req any, call func() error) error {
			err := call()
			if strings.Contains(fmt.Sprint(req), "/by/") {
				counted <- struct{}{}
			}
			return err
		})
		waiting := make(chan error, 1)
		s := c.SessionOn(t, client)
		go func() { waiting <- barrier.NewLatch(s, name).Wait(harness.Context(t)) }()
		harness.Got(t, counted) // it has seen that the latch is there
		require.NoError(t, l.Remove(harness.Context(t)))
		require.ErrorIs(t, harness.Got(t, waiting), barrier.ErrRemoved)
		require.Empty(t, c.Keys(t, barrierPrefix("latch", name)))
	})
}

func TestABarrierThatCannotWorkSaysSo(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		s, ctx := c.Session(t), harness.Context(t)
		for want, call := range map[error][]func() error{
			barrier.ErrName: {
				func() error { _, err := barrier.NewCyclic(s, "", 1).Await(ctx); return err },
				func() error { return barrier.NewCyclic(s, "", 1).Reset(ctx) },
				func() error { _, err := barrier.NewDouble(s, strings.Repeat("x", 2000), 1).Enter(ctx); return err },
				func() error { return barrier.New(s, "").Wait(ctx) },
				func() error { return barrier.New(s, "").Hold(ctx) },
				func() error { return barrier.New(s, "").Release(ctx) },
				func() error { return barrier.NewLatch(s, "").Wait(ctx) },
				func() error { return barrier.NewLatch(s, "x").CountDown(ctx, "") },
			},
			barrier.ErrCount: {
				func() error { _, err := barrier.NewCyclic(s, "x", 0).Await(ctx); return err },
				func() error { _, err := barrier.NewDouble(s, "x", barrier.MaxParties+1).Status(ctx); return err },
				func() error { return barrier.NewLatch(s, "x").Set(ctx, 0) },
			},
		} {
			for i, f := range call {
				require.ErrorIs(t, f(), want, "%d", i)
			}
		}
	})
}

// One transaction lets all pass: with more keys than etcd takes in one level.
func TestHundredsOfPartiesPassTogether(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		const parties = 300
		b := barrier.NewDouble(c.Session(t), harness.Name(t), parties)
		var group sync.WaitGroup
		for range parties {
			group.Go(func() {
				entry, err := b.Enter(harness.Context(t))
				if err == nil {
					err = entry.Leave(harness.Context(t))
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		require.Empty(t, c.Keys(t, partyKeys("double", b.Name())))
	})
}
