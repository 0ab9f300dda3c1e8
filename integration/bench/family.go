package main

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"

	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// familyRows are those of the locks that several may hold, and of several locks
// at once.
func familyRows() []row {
	var rows []row
	add := func(name string, n int, tenure, peer locker, peerName string, limit contestant) {
		r := row{
			name: fmt.Sprintf("%s/%d-clients", name, n), unit: "op/s",
			tenure: crowd{n, 1, 1, false}.of(tenure), limit: limit,
		}
		if peer != nil {
			r.peer, r.peerName = crowd{n, 1, 1, false}.of(peer), peerName
		}
		rows = append(rows, r)
	}
	for _, n := range []int{2, 8, 32} {
		add("rwmutex/writers", n, rwLocker(writing), recipeLocker(writing), "etcd recipes", handoffLimit)
	}
	add("rwmutex/readers", 8, rwLocker(reading), recipeLocker(reading), "etcd recipes", nil)
	add("rwmutex/one-of-four-writes", 8, rwLocker(mixed), recipeLocker(mixed), "etcd recipes", nil)
	for _, n := range []int{8, 32} {
		add("semaphore/limit-2", n, semaphoreLocker(2), nil, "", nil)
	}
	add("all/10-free", 1, allLocker, tenLocker, "etcd concurrency, one by one", nil)
	return rows
}

// A wish tells whether the n-th cycle wants to write.
type wish func(n int) bool

func writing(int) bool { return true }
func reading(int) bool { return false }

// mixed writes in one of four cycles.
func mixed(n int) bool { return n%4 == 0 }

// tenureSession is one that lives as long as the row.
func tenureSession(ctx context.Context, env *env, client *clientv3.Client) (*session.Session, error) {
	s, err := session.New(ctx, client, session.WithTTL(30*time.Second))
	if err != nil {
		return nil, err
	}
	env.onClose(func() { s.Close(context.Background()) })
	return s, nil
}

// etcdSession is etcd's.
func etcdSession(ctx context.Context, env *env, client *clientv3.Client) (*concurrency.Session, error) {
	s, err := concurrency.NewSession(client, concurrency.WithTTL(30), concurrency.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	env.onClose(func() { s.Close() })
	return s, nil
}

// handled is a mutex of what returns handles.
func handled(acquire func(context.Context) (*lock.Held, error)) mutex {
	var held *lock.Held
	return mutex{
		lock:   func(ctx context.Context) (err error) { held, err = acquire(ctx); return err },
		unlock: func(ctx context.Context) error { return held.Unlock(ctx) },
	}
}

func rwLocker(writes wish) locker {
	return func(ctx context.Context, env *env, client *clientv3.Client) (func(string) mutex, error) {
		s, err := tenureSession(ctx, env, client)
		if err != nil {
			return nil, err
		}
		return func(name string) mutex {
			mu, n := lock.NewRWMutex(s, name), 0
			return handled(func(ctx context.Context) (*lock.Held, error) {
				if n++; writes(n) {
					return mu.Lock(ctx)
				}
				return mu.RLock(ctx)
			})
		}, nil
	}
}

// recipeLocker is etcd's reader-writer lock. It takes no context.
func recipeLocker(writes wish) locker {
	return func(ctx context.Context, env *env, client *clientv3.Client) (func(string) mutex, error) {
		s, err := etcdSession(ctx, env, client)
		if err != nil {
			return nil, err
		}
		return func(name string) mutex {
			mu, n := recipe.NewRWMutex(s, "/recipe/"+name), 0
			return mutex{
				lock: func(context.Context) error {
					if n++; writes(n) {
						return mu.Lock()
					}
					return mu.RLock()
				},
				unlock: func(context.Context) error {
					if writes(n) {
						return mu.Unlock()
					}
					return mu.RUnlock()
				},
			}
		}, nil
	}
}

func semaphoreLocker(limit int) locker {
	return func(ctx context.Context, env *env, client *clientv3.Client) (func(string) mutex, error) {
		s, err := tenureSession(ctx, env, client)
		if err != nil {
			return nil, err
		}
		return func(name string) mutex {
			sem := lock.NewSemaphore(s, fmt.Sprintf("%s-%d", name, limit), limit)
			return handled(func(ctx context.Context) (*lock.Held, error) { return sem.Acquire(ctx, 1) })
		}, nil
	}
}

const several = 10

// allLocker locks several names at once.
func allLocker(ctx context.Context, env *env, client *clientv3.Client) (func(string) mutex, error) {
	s, err := tenureSession(ctx, env, client)
	if err != nil {
		return nil, err
	}
	return func(name string) mutex {
		var locks []lock.Lockable
		for i := range several {
			locks = append(locks, lock.NewMutex(s, fmt.Sprintf("%s-all-%d", name, i)))
		}
		var held *lock.HeldAll
		return mutex{
			lock:   func(ctx context.Context) (err error) { held, err = lock.All(ctx, locks...); return err },
			unlock: func(ctx context.Context) error { return held.Unlock(ctx) },
		}
	}, nil
}

// tenLocker locks as many of etcd's mutexes one after the other.
func tenLocker(ctx context.Context, env *env, client *clientv3.Client) (func(string) mutex, error) {
	named, err := etcdLocker(ctx, env, client)
	if err != nil {
		return nil, err
	}
	return func(name string) mutex {
		var locks []mutex
		for i := range several {
			locks = append(locks, named(fmt.Sprintf("%s-all-%d", name, i)))
		}
		each := func(do func(mutex) error) error {
			for _, m := range locks {
				if err := do(m); err != nil {
					return err
				}
			}
			return nil
		}
		return mutex{
			lock:   func(ctx context.Context) error { return each(func(m mutex) error { return m.lock(ctx) }) },
			unlock: func(ctx context.Context) error { return each(func(m mutex) error { return m.unlock(ctx) }) },
		}
	}, nil
}
