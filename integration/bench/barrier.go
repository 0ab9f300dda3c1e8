package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/gotenure/tenure/barrier"
)

const (
	recipesName = "etcd recipes"
	parties     = 100
)

func barrierRows() []row {
	return []row{
		{
			name: "barrier/double/100-parties", unit: "generations/s",
			tenure: meeting(tenureDouble).generations(false), peer: meeting(etcdDouble).generations(false), peerName: recipesName,
		},
		{
			// etcd has nothing that is used again; its double barrier, entered and
			// left, comes nearest.
			name: "barrier/cyclic/100-parties", unit: "generations/s",
			tenure: meeting(tenureCyclic).generations(false), peer: meeting(etcdDouble).generations(false), peerName: recipesName,
		},
		{
			// One holds, 99 wait; once all of them watch it is released.
			name: "barrier/hold/100-parties", unit: "generations/s",
			tenure: meeting(tenureHold).generations(false), peer: meeting(etcdHold).generations(false), peerName: recipesName,
		},
		{
			name: "barrier/double/100-parties/calls", unit: "calls/party", less: true,
			tenure: meeting(tenureDouble).generations(true), peer: meeting(etcdDouble).generations(true), peerName: recipesName,
		},
		{
			name: "barrier/cyclic/100-parties/calls", unit: "calls/party", less: true,
			tenure: meeting(tenureCyclic).generations(true), peer: meeting(etcdDouble).generations(true), peerName: recipesName,
		},
	}
}

// A meeting makes, on a client, what one party does in each generation: it comes,
// and returns when it has passed. The party with number 0 is the first.
type meeting func(ctx context.Context, env *env, client *clientv3.Client, number int, st *stage) (func(ctx context.Context) error, error)

// A stage is what the parties of one contestant share.
type stage struct {
	ready          *rendezvous
	calls, watches atomic.Int64 // requests and watches; watches alone
}

// generations lets 100 parties, each with a client and a session of its own,
// meet again and again. They wait for each other in this process before each
// generation: the recipes do not bear parties that are ahead. The figure is how
// many generations there were a second, or how many requests and watches each
// party had in one.
func (meet meeting) generations(count bool) contestant {
	return func(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
		st := &stage{ready: newRendezvous(parties)}
		visits := make([]func(context.Context) error, parties)
		for i := range visits {
			client, err := env.countingClient(st)
			if err != nil {
				return nil, err
			}
			if visits[i], err = meet(ctx, env, client, i, st); err != nil {
				return nil, err
			}
		}
		return func(d time.Duration) (float64, error) {
			st.calls.Store(0)
			start, done := time.Now(), 0
			for done == 0 || time.Since(start) < d {
				var group errgroup.Group
				for _, visit := range visits {
					group.Go(func() error { return visit(ctx) })
				}
				if err := group.Wait(); err != nil {
					return 0, err
				}
				done++
			}
			if count {
				return float64(st.calls.Load()) / parties / float64(done), nil
			}
			return float64(done) / time.Since(start).Seconds(), nil
		}, nil
	}
}

// countingClient counts the requests, and the watches that are opened.
func (e *env) countingClient(st *stage) (*clientv3.Client, error) {
	cfg := e.cluster.ClientConfig()
	cfg.DialOptions = append(cfg.DialOptions,
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any,
			cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			st.calls.Add(1)
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn,
			method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			stream, err := open(ctx, desc, cc, method, opts...)
			return watchCounter{stream, st}, err
		}))
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, err
	}
	e.onClose(func() { client.Close() })
	return client, nil
}

func tenureDouble(ctx context.Context, env *env, client *clientv3.Client, _ int, st *stage) (func(context.Context) error, error) {
	s, err := tenureSession(ctx, env, client)
	if err != nil {
		return nil, err
	}
	d := barrier.NewDouble(s, "bench", parties)
	return func(ctx context.Context) error {
		entry, err := d.Enter(ctx)
		if err != nil {
			return err
		}
		st.ready.wait()
		return entry.Leave(ctx)
	}, nil
}

func tenureCyclic(ctx context.Context, env *env, client *clientv3.Client, _ int, _ *stage) (func(context.Context) error, error) {
	s, err := tenureSession(ctx, env, client)
	if err != nil {
		return nil, err
	}
	c := barrier.NewCyclic(s, "bench", parties)
	return func(ctx context.Context) error {
		_, err := c.Await(ctx)
		return err
	}, nil
}

func etcdDouble(ctx context.Context, env *env, client *clientv3.Client, _ int, st *stage) (func(context.Context) error, error) {
	s, err := concurrency.NewSession(client, concurrency.WithTTL(30), concurrency.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	env.onClose(func() { s.Close() })
	return func(context.Context) error {
		d := recipe.NewDoubleBarrier(s, "/etcd/double", parties)
		if err := d.Enter(); err != nil {
			return fmt.Errorf("enter: %w", err)
		}
		st.ready.wait()
		return d.Leave()
	}, nil
}

// tenureHold is a barrier that the first party holds and releases, and that all
// others wait for.
func tenureHold(ctx context.Context, env *env, client *clientv3.Client, number int, st *stage) (func(context.Context) error, error) {
	s, err := tenureSession(ctx, env, client)
	if err != nil {
		return nil, err
	}
	b := barrier.New(s, "bench")
	return holdOrWait(number, st,
		func(ctx context.Context) error { return b.Hold(ctx) }, b.Release, b.Wait), nil
}

func etcdHold(_ context.Context, _ *env, client *clientv3.Client, number int, st *stage) (func(context.Context) error, error) {
	b := recipe.NewBarrier(client, "/etcd/barrier")
	return holdOrWait(number, st,
		func(context.Context) error { return b.Hold() },
		func(context.Context) error { return b.Release() },
		func(context.Context) error { return b.Wait() }), nil
}

func holdOrWait(number int, st *stage, hold, release, wait func(context.Context) error) func(context.Context) error {
	if number == 0 {
		return func(ctx context.Context) error {
			err := hold(ctx)
			watches := st.watches.Load()
			st.ready.wait() // the others begin to wait
			for err == nil && st.watches.Load() < watches+parties-1 {
				time.Sleep(50 * time.Microsecond)
			}
			if err == nil {
				err = release(ctx)
			}
			return err
		}
	}
	return func(ctx context.Context) error {
		st.ready.wait()
		return wait(ctx)
	}
}

// A rendezvous is a barrier of this process.
type rendezvous struct {
	mu      sync.Mutex
	all     int
	missing int
	open    chan struct{}
}

func newRendezvous(n int) *rendezvous {
	return &rendezvous{all: n, missing: n, open: make(chan struct{})}
}

func (r *rendezvous) wait() {
	r.mu.Lock()
	open := r.open
	if r.missing--; r.missing == 0 {
		close(open)
		r.missing, r.open = r.all, make(chan struct{})
	}
	r.mu.Unlock()
	<-open
}

// A watchCounter counts what a stream is asked to watch.
type watchCounter struct {
	grpc.ClientStream
	stage *stage
}

func (w watchCounter) SendMsg(msg any) error {
	if req, ok := msg.(*pb.WatchRequest); ok && req.GetCreateRequest() != nil {
		w.stage.calls.Add(1)
		w.stage.watches.Add(1)
	}
	return w.ClientStream.SendMsg(msg)
}
