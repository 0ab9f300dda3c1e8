package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	minPause = 10 * time.Millisecond
	maxPause = 500 * time.Millisecond
)

// Refused tells whether an error means that a write was certainly not applied,
// and that repeating it as it is would be useless.
func Refused(err error) bool {
	code := status.Code(err)
	if e := (rpctypes.EtcdError{}); errors.As(err, &e) {
		code = e.Code()
	}
	switch code {
	case codes.InvalidArgument, codes.NotFound, codes.PermissionDenied, codes.Unauthenticated,
		codes.FailedPrecondition, codes.OutOfRange:
		return true
	case codes.ResourceExhausted:
		return !errors.Is(err, rpctypes.ErrTooManyRequests)
	}
	return false
}

// Repeat calls attempt until it returns nil or an error that matches Refused,
// or ctx ends. The attempt has to be one that can be repeated.
func Repeat(ctx context.Context, attempt func() error) error {
	for failures := 0; ; failures++ {
		err := attempt()
		if err == nil || Refused(err) {
			return err
		}
		Pause(ctx, failures)
		if ctx.Err() != nil {
			return fmt.Errorf("%w (last attempt: %w)", context.Cause(ctx), err)
		}
	}
}

// Until commits a transaction that can be repeated, until etcd has answered.
func Until(ctx context.Context, c *Committer, txn Txn) (Result, error) {
	var result Result
	err := Repeat(ctx, func() (err error) {
		result, err = c.Do(ctx, txn)
		return err
	})
	return result, err
}

// Pause waits before the next attempt after so many failures, or returns early
// when ctx ends.
func Pause(ctx context.Context, failures int) {
	d := min(maxPause, minPause<<min(failures, 10))
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
