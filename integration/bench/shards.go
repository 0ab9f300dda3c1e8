package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/leaderworker"
	"github.com/gotenure/tenure/session"
)

const (
	manyShards  = 10_000
	manyWorkers = 50
)

func shardRows() []row {
	return []row{
		{name: "shards/handoff", unit: "ms", less: true, tenure: handoff, limit: threeCommits},
		{name: fmt.Sprintf("shards/death/%d-workers/%d-shards", manyWorkers, manyShards), unit: "s", less: true, once: true, tenure: death},
		{name: fmt.Sprintf("shards/owned/%d", manyShards), unit: "B/shard", less: true, once: true, tenure: shardMemory},
	}
}

// A gang is workers of one pool in this process.
type gang struct {
	env   *env
	name  string
	owned atomic.Int64
	seen  chan struct{} // capacity 1: owned has changed
}

var gangs atomic.Int64

func newGang(env *env) *gang {
	return &gang{env: env, name: fmt.Sprintf("gang-%d", gangs.Add(1)), seen: make(chan struct{}, 1)}
}

// join starts a worker with a session of its own, and returns that.
func (g *gang) join(ctx context.Context, client *clientv3.Client, cfg leaderworker.Config) (*session.Session, error) {
	s, err := session.New(ctx, client, session.WithTTL(10*time.Second))
	if err != nil {
		return nil, err
	}
	cfg.Session, cfg.Name = s, g.name
	if cfg.Work == nil {
		cfg.Work = g.work
	}
	life, leave := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() { _ = leaderworker.Run(life, cfg) })
	g.env.onClose(func() {
		leave()
		group.Wait()
		s.Close(context.Background())
	})
	return s, nil
}

func (g *gang) work(ctx context.Context, _ leaderworker.Shard) error {
	g.add(1)
	<-ctx.Done()
	g.add(-1)
	return nil
}

func (g *gang) add(n int64) {
	g.owned.Add(n)
	select {
	case g.seen <- struct{}{}:
	default:
	}
}

// until waits until so many shards are owned.
func (g *gang) until(ctx context.Context, n int64) error {
	for g.owned.Load() != n {
		select {
		case <-g.seen:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// handoff is how long a shard takes from the moment when it is said to belong
// elsewhere until its Work has begun there, with nothing to drain.
func handoff(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
	g := newGang(env)
	places := make(chan string, 1)
	began := make(chan string, 1)
	source := leaderworker.Changing(func(ctx context.Context, set func([]leaderworker.ShardSpec) error) error {
		for {
			select {
			case place := <-places:
				if err := set([]leaderworker.ShardSpec{{Name: "0", Require: map[string]string{"at": place}}}); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	at := []string{"here", "there"}
	for _, place := range at {
		client, err := env.client()
		if err != nil {
			return nil, err
		}
		_, err = g.join(ctx, client, leaderworker.Config{
			Shards: source, Labels: map[string]string{"at": place},
			Work: func(ctx context.Context, _ leaderworker.Shard) error {
				began <- place
				<-ctx.Done()
				return nil
			},
		})
		if err != nil {
			return nil, err
		}
	}
	moves := 0
	move := func() error {
		place := at[moves%2]
		moves++
		places <- place
		for {
			select {
			case at := <-began:
				if at == place {
					return nil
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	if err := move(); err != nil {
		return nil, err
	}
	return timed(move), nil
}

// threeCommits is what a handoff cannot do without: assign, release, claim.
func threeCommits(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
	client, err := env.client()
	if err != nil {
		return nil, err
	}
	return timed(func() error {
		for range 3 {
			if _, err := client.Put(ctx, "commit", "x"); err != nil {
				return err
			}
		}
		return nil
	}), nil
}

// timed repeats something and returns the milliseconds that each time took.
func timed(f func() error) func(time.Duration) (float64, error) {
	return func(length time.Duration) (float64, error) {
		start, n := time.Now(), 0
		for time.Since(start) < length {
			if err := f(); err != nil {
				return 0, err
			}
			n++
		}
		return time.Since(start).Seconds() * 1000 / float64(n), nil
	}
}

// death is how long it takes from the end of one worker's lease until all of its
// shards are owned by others, without a grace.
func death(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
	g := newGang(env)
	var victim *session.Session
	for range manyWorkers {
		client, err := env.client()
		if err != nil {
			return nil, err
		}
		victim, err = g.join(ctx, client, leaderworker.Config{Shards: leaderworker.Numbered(manyShards), Grace: -1})
		if err != nil {
			return nil, err
		}
	}
	return func(time.Duration) (float64, error) {
		if err := g.settled(ctx, victim.Client()); err != nil {
			return 0, err
		}
		start := time.Now()
		// It does not leave: its Work is told to stop, and then its lease is
		// revoked, which is what others see of a death.
		if err := victim.Close(ctx); err != nil {
			return 0, err
		}
		err := g.until(ctx, manyShards)
		return time.Since(start).Seconds(), err
	}, nil
}

// settled waits until all shards are owned, everybody has its part, and none
// moves.
func (g *gang) settled(ctx context.Context, client *clientv3.Client) error {
	for range time.Tick(100 * time.Millisecond) {
		if g.owned.Load() != manyShards {
			continue
		}
		pool, err := leaderworker.Status(ctx, client, "", g.name)
		if err != nil {
			return err
		}
		if len(pool.Workers) == manyWorkers && len(pool.Moves) == 0 {
			return nil
		}
	}
	return nil
}

// shardMemory is the heap that each owned shard costs, the etcd server's share
// in this process included.
func shardMemory(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
	client, err := env.client()
	if err != nil {
		return nil, err
	}
	return func(time.Duration) (float64, error) {
		g := newGang(env)
		before, goroutines := heap(), runtime.NumGoroutine()
		if _, err := g.join(ctx, client, leaderworker.Config{Shards: leaderworker.Numbered(manyShards)}); err != nil {
			return 0, err
		}
		if err := g.until(ctx, manyShards); err != nil {
			return 0, err
		}
		extra := runtime.NumGoroutine() - goroutines
		if extra > manyShards+manyShards/100+50 { // one for each Work
			return 0, fmt.Errorf("%d goroutines more than before", extra)
		}
		return float64(heap()-before) / manyShards, nil
	}, nil
}
