package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/config"
)

// configured is what the rows configure.
type configured struct {
	N     int
	Words []string
}

func configRows() []row {
	rows := []row{{
		name: "config/get", unit: "ns", less: true,
		tenure: nanoseconds(valueGetter), peer: nanoseconds(pointerGetter), peerName: "atomic.Pointer",
	}}
	for _, watchers := range []int{1, 1000} {
		for _, percentile := range []int{50, 99} {
			rows = append(rows, row{
				name: fmt.Sprintf("config/visible/%d-watchers/p%d", watchers, percentile), unit: "ms", less: true,
				tenure: visible(watchers, percentile, tenureFollowers), peer: visible(watchers, percentile, etcdFollowers),
				peerName: "a watch each",
			})
		}
	}
	return append(rows, row{
		name: "config/reload/1MiB", unit: "cpu-ms", less: true,
		tenure: reload(tenureReload), peer: reload(plainReload), peerName: "json.Unmarshal",
	})
}

// A getter reads a value n times and returns something that depends on it, so
// that the reads are made.
type getter func(ctx context.Context, env *env) (func(n int) int, error)

func valueGetter(ctx context.Context, env *env) (func(int) int, error) {
	v, err := watchConfigured(ctx, env, "get")
	if err != nil {
		return nil, err
	}
	return func(n int) (sum int) {
		for range n {
			sum += v.Get().N
		}
		return sum
	}, nil
}

func pointerGetter(context.Context, *env) (func(int) int, error) {
	var p atomic.Pointer[configured]
	p.Store(&configured{})
	return func(n int) (sum int) {
		for range n {
			sum += p.Load().N
		}
		return sum
	}, nil
}

func watchConfigured(ctx context.Context, env *env, name string) (*config.Value[configured], error) {
	client, err := env.client()
	if err != nil {
		return nil, err
	}
	v, err := config.Watch[configured](ctx, client, name)
	if err == nil {
		env.onClose(func() { v.Close(context.Background()) })
	}
	return v, err
}

func nanoseconds(get getter) contestant {
	return func(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
		read, err := get(ctx, env)
		if err != nil {
			return nil, err
		}
		return func(d time.Duration) (float64, error) {
			const batch = 10_000_000
			reads, start := 0, time.Now()
			for time.Since(start) < d {
				read(batch)
				reads += batch
			}
			return float64(time.Since(start).Nanoseconds()) / float64(reads), nil
		}, nil
	}
}

// followers calls seen, for each of n followers of the key, with the N of every
// value that it sees.
type followers func(ctx context.Context, env *env, n int, seen func(value int)) (key string, err error)

func tenureFollowers(ctx context.Context, env *env, n int, seen func(int)) (string, error) {
	name := fmt.Sprintf("visible-%d", n)
	v, err := watchConfigured(ctx, env, name)
	if err != nil {
		return "", err
	}
	for range n {
		config.OnChangeOf(v, func(c *configured) int { return c.N }, func(_, now int) { seen(now) })
	}
	return "/tenure/config/" + name + "/live/doc", nil
}

func etcdFollowers(ctx context.Context, env *env, n int, seen func(int)) (string, error) {
	client, err := env.client()
	if err != nil {
		return "", err
	}
	key := fmt.Sprintf("/etcd/visible-%d", n)
	for range n {
		watch := client.Watch(ctx, key, clientv3.WithCreatedNotify())
		<-watch
		go func() { // ends when the client is closed
			for resp := range watch {
				for _, ev := range resp.Events {
					var c configured
					if json.Unmarshal(ev.Kv.Value, &c) == nil {
						seen(c.N)
					}
				}
			}
		}()
	}
	return key, nil
}

// visible measures from the beginning of a put until the last follower has seen
// it.
func visible(n, percentile int, follow followers) contestant {
	return func(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
		all := make(chan time.Time, 1)
		var left, current atomic.Int64
		key, err := follow(ctx, env, n, func(value int) {
			if int64(value) == current.Load() && left.Add(-1) == 0 {
				all <- time.Now()
			}
		})
		if err != nil {
			return nil, err
		}
		writer, err := env.client()
		if err != nil {
			return nil, err
		}
		return func(d time.Duration) (float64, error) {
			var times []time.Duration
			for begin := time.Now(); time.Since(begin) < d || len(times) < 20; {
				left.Store(int64(n))
				value := current.Add(1)
				start := time.Now()
				if _, err := writer.Put(ctx, key, fmt.Sprintf(`{"n": %d, "N": %d}`, value, value)); err != nil {
					return 0, err
				}
				select {
				case end := <-all:
					times = append(times, end.Sub(start))
				case <-ctx.Done():
					return 0, context.Cause(ctx)
				}
			}
			slices.Sort(times)
			return float64(times[min(len(times)-1, len(times)*percentile/100)].Microseconds()) / 1000, nil
		}, nil
	}
}

// A reloader takes one document over and over.
type reloader func(ctx context.Context, env *env, document []byte) (func() error, error)

// tenureReload is Check: the whole pipeline without etcd.
func tenureReload(ctx context.Context, env *env, document []byte) (func() error, error) {
	v, err := watchConfigured(ctx, env, "reload")
	if err != nil {
		return nil, err
	}
	draft, err := v.DraftDocument(ctx, document)
	if err != nil {
		return nil, err
	}
	packed, err := draft.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return func() error { return v.Check(packed) }, nil
}

func plainReload(_ context.Context, _ *env, document []byte) (func() error, error) {
	return func() error { return json.Unmarshal(document, new(configured)) }, nil
}

// reload measures the processor's time for a document of 1 MiB.
func reload(make reloader) contestant {
	return func(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
		var words []string
		for size := 0; size < 1<<20; size += 20 {
			words = append(words, strings.Repeat("w", 17))
		}
		document, err := json.Marshal(map[string]any{"n": 1, "words": words})
		if err != nil {
			return nil, err
		}
		once, err := make(ctx, env, document)
		if err != nil {
			return nil, err
		}
		return func(d time.Duration) (float64, error) {
			n, before, begin := 0, processorTime(), time.Now()
			for ; time.Since(begin) < d; n++ {
				if err := once(); err != nil {
					return 0, err
				}
			}
			return (processorTime() - before).Seconds() * 1000 / float64(n), nil
		}, nil
	}
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
