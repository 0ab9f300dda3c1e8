package embedded

import (
	"context"
	"strings"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// hangup ends what clients have open on a member that is going to stop. A stopping gRPC server waits for open
// streams, which a watch or a lease's keepalives are for ever, and etcd only loses its patience after five seconds
// and more.
type hangup struct {
	streams, calls context.Context
	endStreams     context.CancelFunc
	endCalls       context.CancelFunc

	// lockClient is behind etcd's lock and election services, once one of them has been called.
	lockClient atomic.Pointer[clientv3.Client]
}

func newHangup() *hangup {
	h := &hangup{}
	h.streams, h.endStreams = context.WithCancel(context.Background())
	h.calls, h.endCalls = context.WithCancel(context.Background())
	return h
}

// options puts the hangup into a gRPC server.
func (h *hangup) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainStreamInterceptor(h.stream),
		grpc.ChainUnaryInterceptor(h.call),
	}
}

func (h *hangup) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	h.waits(info.FullMethod, srv)
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	defer context.AfterFunc(h.streams, cancel)()
	return stopped(h.streams, handler(srv, &endingStream{ServerStream: ss, ctx: ctx}))
}

func (h *hangup) call(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ending := h.calls
	if h.waits(info.FullMethod, info.Server) {
		ending = h.streams
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ending, cancel)()
	resp, err := handler(ctx, req)
	return resp, stopped(ending, err)
}

// waits says whether a call may last as long as a stream: those of etcd's lock and election services do, while
// somebody else holds the lock. It takes note of the services' client.
func (h *hangup) waits(method string, service any) bool {
	if !strings.HasPrefix(method, "/v3lockpb.") && !strings.HasPrefix(method, "/v3electionpb.") {
		return false
	}
	if client, ok := serviceClient(service); ok {
		h.lockClient.Store(client)
	}
	return true
}

// close ends what is left when the server is closed.
func (h *hangup) close() {
	h.endCalls()
	if client := h.lockClient.Load(); client != nil {
		_ = client.Close() // only ever reports the cancellation that it is
	}
}

// stopped replaces the error of what was hung up on with the one that tells an etcd client to go on at another
// member. A bare cancellation would end a watch for good.
func stopped(ending context.Context, err error) error {
	if err != nil && ending.Err() != nil {
		return rpctypes.ErrGRPCStopped
	}
	return err
}

// endingStream is a stream whose context the hangup can end.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *endingStream) Context() context.Context { return s.ctx }
