package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// probeTimeout bounds the question for the reason of a failure, so that it adds nothing to the time that the
// failure took.
const probeTimeout = 50 * time.Millisecond

// unreachable tells whether an error means that no member of etcd served the request, rather than refused it.
func unreachable(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	code := status.Code(err)
	if known, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		code = known.Code()
	}
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}

// refusal says why etcd could not be reached, if that can be known. Calls that are repeated until their time is over
// end with nothing but that; a single one that does not wait for a connection says what the last attempt to
// connect has met.
func refusal(client *clientv3.Client, err error) string {
	if client != nil {
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		defer cancel()
		request := &pb.RangeRequest{Key: []byte{0}, CountOnly: true}
		_, err = pb.NewKVClient(client.ActiveConnection()).Range(ctx, request)
	}
	s, ok := status.FromError(err)
	if !ok || s.Code() != codes.Unavailable {
		return ""
	}
	if quoted, ok := strings.CutPrefix(s.Message(), "connection error: desc = "); ok {
		if reason, err := strconv.Unquote(quoted); err == nil {
			return reason
		}
	}
	return s.Message()
}
