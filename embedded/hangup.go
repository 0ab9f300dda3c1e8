package embedded

import (
	"context"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
)

// hangup ends what clients have open on a member that is going to stop. A stopping gRPC server waits for open
// streams, which a watch or a lease's keepalives are for ever, and etcd only loses its patience after five seconds
// and more.
type hangup struct {
	streams, calls context.Context
	endStreams     context.CancelFunc
	endCalls       context.CancelFunc
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

func (h *hangup) stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	defer context.AfterFunc(h.streams, cancel)()
	return stopped(h.streams, handler(srv, &endingStream{ServerStream: ss, ctx: ctx}))
}

func (h *hangup) call(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ending(info.FullMethod), cancel)()
	resp, err := handler(ctx, req)
	return resp, stopped(h.calls, err)
}

// ending says which of the two ends a call: etcd's lock and election services wait in a call for as long as
// somebody else holds the lock, so that they count as streams.
func (h *hangup) ending(method string) context.Context {
	if strings.HasPrefix(method, "/v3lockpb.") || strings.HasPrefix(method, "/v3electionpb.") {
		return h.streams
	}
	return h.calls
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
