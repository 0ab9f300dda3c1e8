package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
)

const heldLocks = 10_000

// memory locks 10,000 names through one session and returns the bytes of heap
// that each costs, the etcd server's share in this process included.
func memory(make locker) contestant {
	return func(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
		client, err := env.client()
		if err != nil {
			return nil, err
		}
		named, err := make(ctx, env, client)
		if err != nil {
			return nil, err
		}
		return func(time.Duration) (float64, error) {
			before, goroutines := heap(), runtime.NumGoroutine()
			held := []mutex{}
			for i := range heldLocks {
				held = append(held, named(fmt.Sprintf("held-%d", i)))
			}
			if err := each(held, func(m mutex) error { return m.lock(ctx) }); err != nil {
				return 0, err
			}
			after := heap()
			if extra := runtime.NumGoroutine() - goroutines; extra > heldLocks/100 {
				return 0, fmt.Errorf("%d goroutines more than before", extra)
			}
			err := each(held, func(m mutex) error { return m.unlock(ctx) })
			return float64(after-before) / heldLocks, err
		}, nil
	}
}

func each(all []mutex, do func(mutex) error) error {
	var group errgroup.Group
	group.SetLimit(64)
	for _, m := range all {
		group.Go(func() error { return do(m) })
	}
	return group.Wait()
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
