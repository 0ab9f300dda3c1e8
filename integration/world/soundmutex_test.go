package world_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/integration/history"
	"github.com/gotenure/tenure/integration/world"
)

// A mutex that is slow, wasteful and right. What the checkers find in a
// history of it under faults is a defect of the harness.

func TestTheHarnessFindsNothingInASoundMutex(t *testing.T) {
	for seed := range uint64(3) {
		s := world.Plan(seed, 4*time.Minute, threeNodes, world.DefaultRates())
		h := simulate(t, s, threeNodes, func(u *user, ctx context.Context) { u.soundSession(ctx, sound) })
		violations := history.Check(h, soundBounds)
		require.Empty(t, violations, "%s\n%v", history.Report(violations), s)
		require.Greater(t, h.Count(history.Acquired), 10, s)
	}
}

// A connection can be silent for 13 s before anybody finds out.
var soundBounds = history.Bounds{Grant: 20 * time.Second, Settle: 20 * time.Second}

// And what they find in its mutants is not luck.
func TestTheHarnessFindsEachDefect(t *testing.T) {
	for _, c := range []struct {
		defect defect
		rule   string
		rates  world.Rates
	}{
		{takesSecondPlace, "M1", world.DefaultRates()},
		{repeatsItsToken, "M2", world.DefaultRates()},
		{writesUnguarded, "M3", world.DefaultRates()},
		{takesSecondPlace, "M4", world.DefaultRates()},
		{looksOnce, "M5", world.DefaultRates()},
		{leavesItsKey, "M6", world.DefaultRates()},
		{countsFromAnswer, "X1", world.LateAnswerRates()},
	} {
		t.Run(c.rule, func(t *testing.T) {
			for seed := range uint64(30) {
				s := world.Plan(seed, 4*time.Minute, threeNodes, c.rates)
				h := simulate(t, s, threeNodes, func(u *user, ctx context.Context) { u.soundSession(ctx, c.defect) })
				for _, v := range history.Check(h, soundBounds) {
					if v.Rule == c.rule {
						t.Logf("seed %d: %v", seed, v)
						return
					}
				}
			}
			t.Fatalf("%s was not found although %s", c.rule, c.defect)
		})
	}
}

// A defect makes the sound mutex wrong in one way.
type defect string

const (
	sound            defect = ""
	countsFromAnswer defect = "the lease counts from the answer to its renewal"
	takesSecondPlace defect = "the second in the queue takes itself for the owner"
	looksOnce        defect = "a waiter does not look again"
	writesUnguarded  defect = "writes are not guarded"
	leavesItsKey     defect = "a failed lock leaves its key"
	repeatsItsToken  defect = "the token is that of the lease"
)

// soundSession locks and unlocks on one lease, and gives the lease up at the
// first error: whatever was left open then goes with it.
func (u *user) soundSession(ctx context.Context, has defect) {
	lease, err := newSoundLease(ctx, u.node.Client(), time.Duration(2+u.rnd.IntN(4))*time.Second, has)
	if err != nil {
		pause(ctx, 100*time.Millisecond)
		return
	}
	defer lease.end(ctx)
	u.rec.Session(u.node.Name(), int64(lease.id))
	for lease.ctx.Err() == nil {
		if u.lockSoundly(lease) != nil {
			return
		}
	}
}

func (u *user) lockSoundly(lease *soundLease) error {
	attempt := u.rec.Ask(u.node.Name(), lockName)
	created, err := lease.lock(u.upTo(20 * time.Second))
	if err != nil {
		attempt.Failed(err)
		if lease.has == leavesItsKey {
			pause(lease.ctx, time.Minute)
		}
		return err
	}
	token := created
	if lease.has == repeatsItsToken {
		token = int64(lease.id)
	}
	belief := attempt.Acquired(token, created)
	stop := context.AfterFunc(lease.ctx, func() { belief.Lost(context.Cause(lease.ctx)) })
	defer stop()
	owner := clientv3.Compare(clientv3.CreateRevision(lease.key), "=", created)
	guard := owner
	if lease.has == writesUnguarded {
		guard = clientv3.Compare(clientv3.CreateRevision(lease.key), ">", -1)
	}
	u.write(lease.ctx, belief, guard)
	pause(lease.ctx, u.upTo(5*time.Second))
	u.write(lease.ctx, belief, guard)
	belief.Releasing()
	ctx, cancel := context.WithTimeout(lease.ctx, 2*time.Second)
	defer cancel()
	_, err = lease.client.Txn(ctx).If(owner).Then(clientv3.OpDelete(lease.key)).Commit()
	belief.Released(err)
	return err
}

// A soundLease counts from the moment at which it asked to be renewed.
type soundLease struct {
	has    defect
	client *clientv3.Client
	id     clientv3.LeaseID
	key    string
	ctx    context.Context // ends when the lease may be over
	cancel context.CancelCauseFunc
	ended  chan struct{}
}

var errLeaseOver = errors.New("the lease may be over")

func newSoundLease(ctx context.Context, client *clientv3.Client, ttl time.Duration, has defect) (*soundLease, error) {
	sent := time.Now()
	gctx, cancel := context.WithTimeout(ctx, ttl)
	defer cancel()
	granted, err := client.Grant(gctx, int64(ttl/time.Second))
	if err != nil {
		return nil, err
	}
	l := &soundLease{
		has:    has,
		client: client,
		id:     granted.ID,
		key:    fmt.Sprintf("%s%s/%x", lockPrefix, lockName, granted.ID),
		ended:  make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	go l.renew(sent, ttl)
	return l, nil
}

func (l *soundLease) renew(sent time.Time, ttl time.Duration) {
	defer close(l.ended)
	over := time.AfterFunc(time.Until(sent.Add(ttl)), func() { l.cancel(errLeaseOver) })
	defer over.Stop()
	limit := ttl / 4 // short, or one lost answer would cost the lease
	if l.has == countsFromAnswer {
		limit = ttl
	}
	for pause(l.ctx, ttl/4); l.ctx.Err() == nil; pause(l.ctx, ttl/4) {
		sent := time.Now()
		ctx, cancel := context.WithTimeout(l.ctx, limit)
		_, err := l.client.KeepAliveOnce(ctx, l.id)
		cancel()
		if l.has == countsFromAnswer {
			sent = time.Now()
		}
		if err == nil && l.ctx.Err() == nil {
			over.Reset(time.Until(sent.Add(ttl)))
		}
	}
}

func (l *soundLease) end(ctx context.Context) {
	l.cancel(errLeaseOver)
	<-l.ended
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, _ = l.client.Revoke(ctx, l.id) // or it expires
}

// lock queues up and polls until the lease's key is the oldest.
func (l *soundLease) lock(limit time.Duration) (created int64, err error) {
	ctx, cancel := context.WithTimeout(l.ctx, limit)
	defer cancel()
	put, err := l.client.Put(ctx, l.key, "", clientv3.WithLease(l.id))
	if err != nil {
		return 0, err
	}
	places := clientv3.WithLimit(1)
	if l.has == takesSecondPlace {
		places = clientv3.WithLimit(2)
	}
	byAge := clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend)
	for {
		oldest, err := l.client.Get(ctx, lockPrefix+lockName+"/", clientv3.WithPrefix(), byAge, places)
		if err != nil {
			return 0, err
		}
		for _, kv := range oldest.Kvs {
			if string(kv.Key) == l.key && l.ctx.Err() == nil {
				return put.Header.Revision, nil
			}
		}
		if l.has == looksOnce {
			<-l.ctx.Done()
		}
		pause(ctx, 100*time.Millisecond)
	}
}
