package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"golang.org/x/sync/errgroup"

	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

const etcdName = "etcd concurrency"

func rows() []row {
	var rows []row
	alone := crowd{1, 1, 1, false}
	for _, n := range []int{2, 8, 32, 128} {
		rows = append(rows, row{
			name: fmt.Sprintf("mutex/contended/%d-clients", n), unit: "op/s",
			tenure: crowd{n, 1, 1, false}.of(tenureLocker), peer: crowd{n, 1, 1, false}.of(etcdLocker), peerName: etcdName,
			limit: handoffLimit,
		})
	}
	rows = append(rows,
		row{
			name: "mutex/uncontended", unit: "op/s",
			tenure: alone.of(tenureLocker), peer: alone.of(etcdLocker), peerName: etcdName,
			limit: twoCommits,
		},
		// etcd's mutex needs a session for each goroutine: two of one session do
		// not exclude each other.
		row{
			name: "mutex/128-goroutines", unit: "op/s",
			tenure: crowd{1, 1, 128, false}.of(tenureLocker), peer: crowd{1, 128, 1, false}.of(etcdLocker), peerName: etcdName,
		},
		row{
			name: "mutex/retained", unit: "op/s",
			tenure: alone.of(retainingLocker), peer: alone.of(etcdLocker), peerName: etcdName,
		},
		row{
			name: "mutex/128-different", unit: "op/s",
			tenure: crowd{1, 1, 128, true}.of(tenureLocker), peer: crowd{1, 1, 128, true}.of(etcdLocker), peerName: etcdName,
		},
		row{
			name: "mutex/held/10000", unit: "B/lock", less: true, once: true,
			tenure: memory(tenureLocker), peer: memory(etcdLocker), peerName: etcdName,
		},
	)
	return append(rows, jobRows()...)
}

// A cycle locks and unlocks once.
type cycle func(ctx context.Context) error

// A locker makes, on a client, what locks any name.
type locker func(ctx context.Context, env *env, client *clientv3.Client) (named func(name string) mutex, err error)

type mutex struct {
	lock   func(ctx context.Context) error
	unlock func(ctx context.Context) error
}

func (m mutex) cycle(ctx context.Context) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	return m.unlock(context.WithoutCancel(ctx))
}

func tenureLocker(ctx context.Context, env *env, client *clientv3.Client) (func(string) mutex, error) {
	return tenureLockerWith(ctx, env, client)
}

func retainingLocker(ctx context.Context, env *env, client *clientv3.Client) (func(string) mutex, error) {
	return tenureLockerWith(ctx, env, client, lock.WithRetention(time.Minute))
}

func tenureLockerWith(ctx context.Context, env *env, client *clientv3.Client, opts ...lock.Option) (func(string) mutex, error) {
	s, err := session.New(ctx, client, session.WithTTL(30*time.Second))
	if err != nil {
		return nil, err
	}
	env.onClose(func() { s.Close(context.Background()) })
	return func(name string) mutex {
		mu := lock.NewMutex(s, name, opts...)
		var held *lock.Held
		return mutex{
			lock:   func(ctx context.Context) (err error) { held, err = mu.Lock(ctx); return err },
			unlock: func(ctx context.Context) error { return held.Unlock(ctx) },
		}
	}, nil
}

func etcdLocker(ctx context.Context, env *env, client *clientv3.Client) (func(string) mutex, error) {
	s, err := concurrency.NewSession(client, concurrency.WithTTL(30), concurrency.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	env.onClose(func() { s.Close() })
	return func(name string) mutex {
		mu := concurrency.NewMutex(s, "/etcd/"+name)
		return mutex{lock: mu.Lock, unlock: mu.Unlock}
	}, nil
}

// A crowd is who locks: so many clients, with so many sessions each, with so
// many goroutines each.
type crowd struct {
	clients, sessions, goroutines int
	apart                         bool // each goroutine locks a name of its own
}

// of lets the crowd lock and unlock with what a locker makes.
func (n crowd) of(make locker) contestant {
	return func(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
		cycles := []cycle{}
		for range n.clients {
			client, err := env.client()
			if err != nil {
				return nil, err
			}
			for range n.sessions {
				named, err := make(ctx, env, client)
				if err != nil {
					return nil, err
				}
				for range n.goroutines {
					name := fmt.Sprintf("crowd-%d-%d-%d", n.clients, n.sessions, n.goroutines)
					if n.apart {
						name += fmt.Sprintf("-%d", len(cycles))
					}
					cycles = append(cycles, named(name).cycle)
				}
			}
		}
		return perSecond(ctx, cycles), nil
	}
}

// handoffLimit is what etcd leaves room for: two clients that each wait, on a
// standing watch, for a deletion by the other, and answer it with their own.
func handoffLimit(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
	clients := make([]*clientv3.Client, 2)
	for i := range clients {
		client, err := env.client()
		if err != nil {
			return nil, err
		}
		clients[i] = client
	}
	return func(d time.Duration) (float64, error) {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		var watches [2]clientv3.WatchChan
		for i, client := range clients {
			watches[i] = client.Watch(ctx, fmt.Sprintf("/limit/%d", 1-i), clientv3.WithFilterPut(), clientv3.WithCreatedNotify())
			<-watches[i]
		}
		var steps atomic.Int64
		var group errgroup.Group
		start := time.Now()
		for i, client := range clients {
			own := fmt.Sprintf("/limit/%d", i)
			group.Go(func() error {
				first := i == 0
				for ctx.Err() == nil {
					if _, err := client.Put(ctx, own, ""); err != nil {
						break
					}
					if !first {
						if _, ok := <-watches[i]; !ok {
							break
						}
					}
					first = false
					if _, err := client.Delete(ctx, own); err != nil {
						break
					}
					steps.Add(1)
				}
				return nil
			})
		}
		err := group.Wait()
		return float64(steps.Load()) / time.Since(start).Seconds(), err
	}, nil
}

// twoCommits is the floor of an uncontended cycle: a key on a lease that is
// created if it is not there, and deleted if it is the same, in a transaction
// each.
func twoCommits(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
	client, err := env.client()
	if err != nil {
		return nil, err
	}
	lease, err := client.Grant(ctx, 600)
	if err != nil {
		return nil, err
	}
	const key = "/limit/own"
	created := clientv3.CreateRevision(key)
	return perSecond(ctx, []cycle{func(ctx context.Context) error {
		resp, err := client.Txn(ctx).If(clientv3.Compare(created, "=", 0)).Then(clientv3.OpPut(key, "", clientv3.WithLease(lease.ID))).Commit()
		if err != nil {
			return err
		}
		_, err = client.Txn(context.WithoutCancel(ctx)).
			If(clientv3.Compare(created, "=", resp.Header.Revision)).Then(clientv3.OpDelete(key)).Commit()
		return err
	}}), nil
}

// perSecond runs every cycle in a goroutine of its own for a while and returns
// how many there were a second, all together.
func perSecond(ctx context.Context, cycles []cycle) func(time.Duration) (float64, error) {
	return func(d time.Duration) (float64, error) {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		var done atomic.Int64
		var group errgroup.Group
		start := time.Now()
		for _, cycle := range cycles {
			group.Go(func() error {
				for ctx.Err() == nil {
					switch err := cycle(ctx); {
					case err == nil:
						done.Add(1)
					case ctx.Err() == nil:
						return err
					}
				}
				return nil
			})
		}
		<-ctx.Done()
		rate := float64(done.Load()) / time.Since(start).Seconds()
		return rate, group.Wait()
	}
}
