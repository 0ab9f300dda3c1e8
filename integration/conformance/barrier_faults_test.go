package conformance

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/gotenure/tenure/barrier"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/session"
)

// puts tells whether a request is a transaction that puts a key with that
// suffix, nested or not.
func puts(req any, suffix string) bool {
	txn, ok := req.(*pb.TxnRequest)
	if !ok {
		return false
	}
	for _, op := range txn.Success {
		if strings.HasSuffix(string(op.GetRequestPut().GetKey()), suffix) ||
			op.GetRequestTxn() != nil && puts(op.GetRequestTxn(), suffix) {
			return true
		}
	}
	return false
}

// comes tells whether a request is that of a party that comes to a gate.
func comes(req any) bool { return puts(req, "/gate/keeper") }

// decides tells whether a request is one that decides at a gate.
func decides(req any) bool { return puts(req, "/gate/record") }

func TestPartiesPassTogetherWhenAnswersAreLost(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		for name, lost := range map[string]func(any) bool{"on coming": comes, "on deciding": decides} {
			t.Run(name, func(t *testing.T) {
				const parties = 3
				name := harness.Name(t)
				for range 2 { // the keeper's answers are lost, whoever that is
					var waiting []<-chan error
					for range parties {
						client, faults := c.Dial(t)
						faults.OnCall(once(lost))
						d := barrier.NewDouble(c.SessionOn(t, client), name, parties)
						result := make(chan error, 1)
						waiting = append(waiting, result)
						go func() {
							entry, err := d.Enter(harness.Context(t))
							if err == nil {
								faults.OnCall(once(lost))
								err = entry.Leave(harness.Context(t))
							}
							result <- err
						}()
					}
					for _, w := range waiting {
						require.NoError(t, harness.Got(t, w))
					}
				}
				c.AwaitKeys(t, partyKeys("double", name), 0)
				st, err := barrier.NewDouble(c.Session(t), name, parties).Status(harness.Context(t))
				require.NoError(t, err)
				require.EqualValues(t, 2, st.Generation, "each generation was counted once")
			})
		}
	})
}

func TestAPartyThatGaveUpBeforeItsAnswerCameIsNamedAndLeavesNoKey(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		for _, first := range []bool{true, false} {
			name := harness.Name(t)
			client, faults := c.Dial(t)
			s := c.SessionOn(t, client, session.WithName("quitter"))
			var other <-chan passing
			if !first {
				other = awaitLater(harness.Context(t), barrier.NewCyclic(sessionNamed(t, c, "other"), name, 3))
				c.AwaitKeys(t, partyKeys("cyclic", name), 1)
			}
			ctx, cancel := context.WithCancel(harness.Context(t))
			faults.OnCall(func(req any, call func() error) error {
				err := call()
				if comes(req) {
					cancel() // it has come, and does not learn it
					return harness.ErrDown
				}
				return err
			})
			_, err := barrier.NewCyclic(s, name, 3).Await(ctx)
			require.ErrorIs(t, err, context.Canceled)
			if other != nil {
				named(t, harness.Got(t, other).err, "quitter", barrier.ReasonGaveUp)
			}
			c.AwaitKeys(t, partyKeys("cyclic", name), 0)
			c.AwaitKeys(t, barrierPrefix("cyclic", name), 1) // the record, and no gate
		}
	})
}

// A write whose caller gave up can be applied at any later time: here it reaches
// etcd only after the attempt was cleaned up.
func TestAPartyThatArrivesAfterItsCallerGaveUpLeavesNoKey(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		b := barrier.NewCyclic(c.SessionOn(t, client), name, 2)
		ctx, cancel := context.WithCancel(harness.Context(t))
		late := make(chan *pb.TxnRequest, 1)
		faults.OnCall(func(req any, call func() error) error {
			if comes(req) {
				late <- req.(*pb.TxnRequest)
				cancel()
				return harness.ErrDown
			}
			return call()
		})
		_, err := b.Await(ctx)
		require.ErrorIs(t, err, context.Canceled)
		faults.Mend()
		answer, err := pb.NewKVClient(c.Client().ActiveConnection()).Txn(harness.Context(t), harness.Got(t, late))
		require.NoError(t, err)
		require.False(t, answer.Succeeded, "the write of a party that gave up committed")
		require.Empty(t, c.Keys(t, barrierPrefix("cyclic", name)))
	})
}

// The keeper's decision reaches etcd when the barrier is two generations on.
func TestADecisionThatArrivesLateChangesNothing(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		b := barrier.NewCyclic(c.SessionOn(t, client), name, 1)
		sent := make(chan *pb.TxnRequest, 100)
		faults.OnCall(func(req any, call func() error) error {
			if decides(req) {
				sent <- req.(*pb.TxnRequest)
			}
			return call()
		})
		for range 2 {
			_, err := b.Await(harness.Context(t))
			require.NoError(t, err)
		}
		waiting := awaitLater(harness.Context(t), barrier.NewCyclic(c.Session(t), name, 2))
		c.AwaitKeys(t, partyKeys("cyclic", name), 1)
		for range 2 {
			answer, err := pb.NewKVClient(c.Client().ActiveConnection()).Txn(harness.Context(t), harness.Got(t, sent))
			require.NoError(t, err)
			require.False(t, answer.Succeeded)
		}
		generation, err := barrier.NewCyclic(c.Session(t), name, 2).Await(harness.Context(t))
		require.NoError(t, err)
		require.EqualValues(t, 3, generation)
		require.EqualValues(t, 3, harness.Got(t, waiting).generation)
	})
}

func TestWaitingThroughBrokenStreamsAndACompaction(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		s := c.SessionOn(t, client)
		first := awaitLater(harness.Context(t), barrier.NewCyclic(s, name, 3))
		c.AwaitKeys(t, partyKeys("cyclic", name), 1)
		closed := barrier.New(s, name)
		require.NoError(t, barrier.New(c.Session(t), name).Hold(harness.Context(t)))
		opened := make(chan error, 2)
		go func() { opened <- closed.Wait(harness.Context(t)) }()
		go func() { opened <- barrier.NewLatch(s, name).Wait(harness.Context(t)) }()

		var blocked atomic.Bool
		faults.OnStream(func(method string) error {
			if strings.Contains(method, "Watch") && blocked.Load() {
				return harness.ErrDown
			}
			return nil
		})
		blocked.Store(true)
		faults.Break()
		second := awaitLater(harness.Context(t), barrier.NewCyclic(c.Session(t), name, 3))
		c.AwaitKeys(t, partyKeys("cyclic", name), 2)
		require.NoError(t, barrier.New(c.Session(t), name).Release(harness.Context(t)))
		resp, err := c.Client().Put(harness.Context(t), "compacted", name)
		require.NoError(t, err)
		_, err = c.Client().Compact(harness.Context(t), resp.Header.Revision)
		require.NoError(t, err)
		blocked.Store(false)

		_, err = barrier.NewCyclic(c.Session(t), name, 3).Await(harness.Context(t))
		require.NoError(t, err)
		require.NoError(t, harness.Got(t, first).err)
		require.NoError(t, harness.Got(t, second).err)
		l := barrier.NewLatch(c.Session(t), name)
		require.NoError(t, l.Set(harness.Context(t), 1))
		require.NoError(t, l.CountDown(harness.Context(t), "only"))
		require.NoError(t, harness.Got(t, opened))
		require.NoError(t, harness.Got(t, opened))
	})
}

// A party is cut off while it waits; the others pass, and so much happens since
// then that the record says nothing of it any more.
func TestAPartyThatWasCutOffLearnsThatItHasPassed(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		keeper := awaitLater(harness.Context(t), barrier.NewCyclic(c.Session(t), name, 2))
		c.AwaitKeys(t, partyKeys("cyclic", name), 1)
		client, faults := c.Dial(t)
		s := c.SessionOn(t, client)
		came, answer := make(chan struct{}), make(chan struct{})
		var blocked atomic.Bool
		faults.OnStream(func(method string) error {
			if strings.Contains(method, "Watch") && blocked.Load() {
				return harness.ErrDown
			}
			return nil
		})
		faults.OnCall(func(req any, call func() error) error {
			if !comes(req) {
				return call()
			}
			blocked.Store(true) // from here on it hears nothing
			faults.Break()
			err := call()
			close(came)
			<-answer
			return err
		})
		cutOff := awaitLater(harness.Context(t), barrier.NewCyclic(s, name, 2))
		harness.Got(t, came)
		require.NoError(t, harness.Got(t, keeper).err)
		for range 3 { // others have generations of their own
			_, err := barrier.NewCyclic(c.Session(t), name, 1).Await(harness.Context(t))
			require.NoError(t, err)
		}
		resp, err := c.Client().Get(harness.Context(t), name)
		require.NoError(t, err)
		_, err = c.Client().Compact(harness.Context(t), resp.Header.Revision)
		require.NoError(t, err)
		close(answer)
		blocked.Store(false)
		got := harness.Got(t, cutOff)
		require.NoError(t, got.err)
		require.EqualValues(t, 1, got.generation)
	})
}

func TestAWaitEndsWithItsSession(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		waits := map[string]func(s *session.Session, name string) error{
			"cyclic": func(s *session.Session, name string) error {
				_, err := barrier.NewCyclic(s, name, 2).Await(harness.Context(t))
				return err
			},
			"double": func(s *session.Session, name string) error {
				_, err := barrier.NewDouble(s, name, 2).Enter(harness.Context(t))
				return err
			},
			"barrier": func(s *session.Session, name string) error { return barrier.New(s, name).Wait(harness.Context(t)) },
			"latch":   func(s *session.Session, name string) error { return barrier.NewLatch(s, name).Wait(harness.Context(t)) },
		}
		for kind, wait := range waits {
			for _, closed := range []bool{true, false} {
				name := harness.Name(t)
				require.NoError(t, barrier.New(c.Session(t), name).Hold(harness.Context(t)))
				client, faults := c.Dial(t)
				watching := make(chan struct{}, 100)
				faults.OnSend(func(msg any) {
					if req, ok := msg.(*pb.WatchRequest); ok && strings.Contains(string(req.GetCreateRequest().GetKey()), name) {
						watching <- struct{}{}
					}
				})
				s := c.SessionOn(t, client)
				result := make(chan error, 1)
				go func() { result <- wait(s, name) }()
				harness.Got(t, watching)
				want := session.ErrLost
				if closed {
					want = session.ErrClosed
					require.NoError(t, s.Close(harness.Context(t)))
				} else {
					kill(t, s)
				}
				err := harness.Got(t, result)
				require.ErrorIs(t, err, barrier.ErrLost, kind)
				require.ErrorIs(t, err, want, kind)
				for _, kind := range []string{"cyclic", "double"} {
					c.AwaitKeys(t, partyKeys(kind, name), 0)
				}
			}
		}
	})
}

func TestAHoldThatArrivesAfterItsCallerGaveUpDoesNotHold(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		for _, opts := range [][]barrier.HoldOption{nil, {barrier.Persistent()}} {
			for _, applied := range []bool{true, false} {
				client, faults := c.Dial(t)
				b := barrier.New(c.SessionOn(t, client), harness.Name(t))
				ctx, cancel := context.WithCancel(harness.Context(t))
				late := make(chan *pb.TxnRequest, 1)
				faults.OnCall(func(req any, call func() error) error {
					if !puts(req, "/record") || ctx.Err() != nil {
						return call()
					}
					late <- req.(*pb.TxnRequest)
					if applied {
						require.NoError(t, call())
					}
					cancel()
					return harness.ErrDown
				})
				require.ErrorIs(t, b.Hold(ctx, opts...), context.Canceled)
				faults.Mend()
				answer, err := pb.NewKVClient(c.Client().ActiveConnection()).Txn(harness.Context(t), harness.Got(t, late))
				require.NoError(t, err)
				require.False(t, answer.Succeeded)
				require.NoError(t, b.Wait(harness.Context(t)))
				require.NoError(t, b.Hold(harness.Context(t), opts...)) // and it is not in the way
				require.NoError(t, b.Release(harness.Context(t)))
			}
		}
	})
}

func TestARetriedReleaseNeverEndsALaterHold(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		b := barrier.New(c.SessionOn(t, client), harness.Name(t))
		require.NoError(t, b.Hold(harness.Context(t)))
		sent := make(chan *pb.TxnRequest, 10)
		faults.OnCall(once(func(req any) bool {
			if puts(req, "/record") {
				sent <- req.(*pb.TxnRequest)
				return true
			}
			return false
		}))
		require.NoError(t, b.Release(harness.Context(t))) // the first try committed, its answer was lost
		require.NoError(t, b.Hold(harness.Context(t)))
		answer, err := pb.NewKVClient(c.Client().ActiveConnection()).Txn(harness.Context(t), harness.Got(t, sent))
		require.NoError(t, err)
		require.False(t, answer.Succeeded)
		st, err := b.Status(harness.Context(t))
		require.NoError(t, err)
		require.True(t, st.Held)
	})
}

func TestALatchCountsAContributionOnceWhenItsAnswerIsLost(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		client, faults := c.Dial(t)
		l := barrier.NewLatch(c.SessionOn(t, client), harness.Name(t))
		require.NoError(t, l.Set(harness.Context(t), 2))
		faults.OnCall(once(func(req any) bool { return puts(req, "/by/a") }))
		require.NoError(t, l.CountDown(harness.Context(t), "a"))
		st, err := l.Status(harness.Context(t))
		require.NoError(t, err)
		require.Equal(t, barrier.LatchStatus{Count: 2, Missing: 1, Made: []string{"a"}}, st)
		faults.OnCall(once(func(req any) bool { return puts(req, "/latch") }))
		require.NoError(t, l.CountDown(harness.Context(t), "b"))
		require.NoError(t, l.Wait(harness.Context(t)))
	})
}
