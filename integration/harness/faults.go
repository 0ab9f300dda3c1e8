package harness

import (
	"context"
	"sync"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrDown is what a call answers that Faults makes fail: etcd could not be
// reached, or its answer was lost.
var ErrDown = status.Error(codes.Unavailable, "made to fail by the test")

// Faults makes the calls of one client fail, by rules that see the request.
// Rules that are set while calls are under way apply to the next ones.
type Faults struct {
	mu     sync.Mutex
	unary  func(req any, call func() error) error
	stream func(method string) error
	sent   func(msg any)
	got    func(msg any)
	open   map[*seenStream]context.CancelFunc
}

// OnCall sets the rule for unary calls: it gets the request and a function
// that carries the call out, and returns the call's error. Nil is no rule.
func (f *Faults) OnCall(rule func(req any, call func() error) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unary = rule
}

// OnStream sets the rule for opening streams, watches and keepalives: an error
// is what opening them returns.
func (f *Faults) OnStream(rule func(method string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stream = rule
}

// OnSend is shown every message that is sent on a stream.
func (f *Faults) OnSend(see func(msg any)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = see
}

// OnReceive is shown every message that arrives on a stream.
func (f *Faults) OnReceive(see func(msg any)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = see
}

// Break ends all streams that are open, as a connection that breaks does.
func (f *Faults) Break() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, cancel := range f.open {
		cancel()
	}
}

// Deafen makes all streams that are open silent: what etcd sends on them no
// longer arrives, and nothing says so.
func (f *Faults) Deafen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for stream := range f.open {
		stream.deaf.Store(true)
	}
}

// Cut makes every call and every new stream fail.
func (f *Faults) Cut() {
	f.OnCall(func(any, func() error) error { return ErrDown })
	f.OnStream(func(string) error { return ErrDown })
}

// Mend removes all rules.
func (f *Faults) Mend() {
	f.OnCall(nil)
	f.OnStream(nil)
}

func (f *Faults) dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any,
			cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			f.mu.Lock()
			rule := f.unary
			f.mu.Unlock()
			if rule == nil {
				return invoke(ctx, method, req, reply, cc, opts...)
			}
			return rule(req, func() error { return invoke(ctx, method, req, reply, cc, opts...) })
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn,
			method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			f.mu.Lock()
			rule := f.stream
			f.mu.Unlock()
			if rule != nil {
				if err := rule(method); err != nil {
					return nil, err
				}
			}
			ctx, cancel := context.WithCancel(ctx)
			stream, err := open(ctx, desc, cc, method, opts...)
			if err != nil {
				cancel()
				return nil, err
			}
			return f.keep(&seenStream{ClientStream: stream, faults: f}, cancel), nil
		}),
	}
}

type seenStream struct {
	grpc.ClientStream
	faults *Faults
	deaf   atomic.Bool
}

// keep remembers a stream until it ends.
func (f *Faults) keep(s *seenStream, cancel context.CancelFunc) *seenStream {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open = make(map[*seenStream]context.CancelFunc)
	}
	f.open[s] = cancel
	context.AfterFunc(s.Context(), func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.open, s)
	})
	return s
}

// RecvMsg turns the end that Break makes into that of a broken connection, and
// swallows what comes after Deafen.
func (s *seenStream) RecvMsg(msg any) error {
	err := s.ClientStream.RecvMsg(msg)
	for err == nil && s.deaf.Load() {
		err = s.ClientStream.RecvMsg(msg)
	}
	if status.Code(err) == codes.Canceled {
		return ErrDown
	}
	s.faults.mu.Lock()
	see := s.faults.got
	s.faults.mu.Unlock()
	if err == nil && see != nil {
		see(msg)
	}
	return err
}

func (s *seenStream) SendMsg(msg any) error {
	s.faults.mu.Lock()
	see := s.faults.sent
	s.faults.mu.Unlock()
	if see != nil {
		see(msg)
	}
	return s.ClientStream.SendMsg(msg)
}

// Creates tells whether a request is a transaction that puts below the prefix.
func Creates(req any, prefix string) bool { return touches(req, prefix, true) }

// Deletes tells whether a request is a transaction that deletes below the
// prefix.
func Deletes(req any, prefix string) bool { return touches(req, prefix, false) }

func touches(req any, prefix string, put bool) bool {
	txn, ok := req.(*pb.TxnRequest)
	if !ok {
		return false
	}
	for _, op := range txn.Success {
		key := op.GetRequestDeleteRange().GetKey()
		if put {
			key = op.GetRequestPut().GetKey()
		}
		if len(key) >= len(prefix) && string(key[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}
