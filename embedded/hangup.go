package embedded

import (
	"context"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// hangup gets rid of a member's clients before the member stops. etcd by itself may cut a call off in the middle and
// close the database that it still reads, or wait five seconds and more for a stream that somebody has open.
type hangup struct {
	streams    context.Context // ends when streams have to
	endStreams context.CancelFunc

	mu         sync.Mutex
	server     *grpc.Server // nil until the member is ready
	stopped    bool
	lockClient *clientv3.Client
}

func newHangup() *hangup {
	h := &hangup{}
	h.streams, h.endStreams = context.WithCancel(context.Background())
	return h
}

// options puts the hangup into a gRPC server.
func (h *hangup) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainStreamInterceptor(h.stream),
		grpc.ChainUnaryInterceptor(h.call),
		grpc.WaitForHandlers(true),
	}
}

// register takes note of the gRPC server, which is about to begin.
func (h *hangup) register(server *grpc.Server) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.server = server
	if h.stopped {
		server.Stop() // before it has begun: it never will
	}
}

// stop ends the gRPC server, streams at once and calls after grace, and returns when the last of them has ended.
func (h *hangup) stop(grace time.Duration) {
	h.mu.Lock()
	h.stopped = true
	server := h.server
	h.mu.Unlock()

	h.endStreams()
	if server == nil {
		return
	}
	if grace > 0 {
		defer time.AfterFunc(grace, server.Stop).Stop()
		server.GracefulStop() // asks clients to go elsewhere
		return
	}
	server.Stop()
}

// close ends what is left when the member is closed.
func (h *hangup) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lockClient != nil {
		_ = h.lockClient.Close() // only ever reports the cancellation that it is
	}
}

func (h *hangup) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	h.note(info.FullMethod, srv)
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	defer context.AfterFunc(h.streams, cancel)()
	return h.answer(handler(srv, &endingStream{ServerStream: ss, ctx: ctx}))
}

// call lets calls pass, but for those that may last as long as a stream.
func (h *hangup) call(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !h.note(info.FullMethod, info.Server) {
		return handler(ctx, req)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.streams, cancel)()
	resp, err := handler(ctx, req)
	return resp, h.answer(err)
}

// note says whether a call belongs to etcd's lock or election service, whose calls last as long as somebody else holds
// the lock, and takes note of the services' client.
func (h *hangup) note(method string, service any) bool {
	if !strings.HasPrefix(method, "/v3lockpb.") && !strings.HasPrefix(method, "/v3electionpb.") {
		return false
	}
	if client, ok := serviceClient(service); ok {
		h.mu.Lock()
		h.lockClient = client
		h.mu.Unlock()
	}
	return true
}

// answer replaces the error of what was hung up on with the one that tells an etcd client to go on at another
// member. A bare cancellation would end a watch for good.
func (h *hangup) answer(err error) error {
	if err != nil && h.streams.Err() != nil {
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
