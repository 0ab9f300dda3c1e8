package leaderworker

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/internal/prefixwatch"
)

// awaitGone returns when a key is not there, or was not for a moment, or when
// ctx ends.
func awaitGone(ctx context.Context, client *clientv3.Client, key string) {
	watch := prefixwatch.Open(ctx, client, prefixwatch.Config{Key: key, KeysOnly: true, NoPuts: true})
	defer watch.Close()
	for first := true; ; first = false {
		update, err := watch.Next(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			// Refused for good: whoever waits looks for itself from time to time.
			leasekey.Pause(ctx, maxFailures)
			return
		case err != nil:
			return
		case first == (len(update.Events) == 0):
			return // not there; or deleted, or made anew, since
		}
	}
}

// maxFailures makes a pause as long as pauses get.
const maxFailures = 10

// hopeless tells whether etcd refused for a reason that trying again will not
// change.
func hopeless(err error) bool {
	code := status.Code(err)
	if e := (rpctypes.EtcdError{}); errors.As(err, &e) {
		code = e.Code()
	}
	return code == codes.PermissionDenied || code == codes.Unauthenticated || code == codes.InvalidArgument
}
