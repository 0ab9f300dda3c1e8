package config

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errAgain is returned by commit when nothing was written, and reading again
// and trying again may succeed.
var errAgain = errors.New("config: not written; try again")

// record is a change in the history.
type record struct {
	N      int64     `json:"n"`
	ID     string    `json:"id"`
	Author string    `json:"author"`
	Time   time.Time `json:"time"`
	Note   string    `json:"note,omitempty"`
	First  bool      `json:"first,omitempty"`  // nothing was there before
	Packed []byte    `json:"packed,omitempty"` // left out if it would not fit
}

// commit writes a body in one transaction that compares everything that was
// read, with its record. promote says that the staged change that was read
// becomes this body, and ends with it.
//
//	answered, succeeded ──▶ the revision
//	answered, compared unequal ──▶ errAgain
//	no answer ──▶ settle ──▶ it was made: the revision
//	                    ╰──▶ it was not, and never will be: errAgain
func (v *Value[T]) commit(ctx context.Context, from base, next body, note string, promote bool) (int64, error) {
	if from.stageRev != 0 && !promote {
		return 0, fmt.Errorf("%w: %q", ErrStaged, v.name)
	}
	r := record{
		N: from.head.N + 1, ID: rand.Text(), Author: v.opts.author, Note: note, First: from.empty(),
		Time: time.Now().UTC().Truncate(time.Millisecond),
	}
	var err error
	if r.Packed, err = next.pack(); err != nil {
		return 0, fmt.Errorf("config: %q: %w", v.name, err)
	}
	cmps := append(from.unchanged(v.place), clientv3.Compare(clientv3.ModRevision(v.place.stage), "=", from.stageRev))
	ops, err := v.operations(from, next, r, promote)
	if err != nil {
		return 0, err
	}
	if size := requestSize(cmps, ops); size > v.opts.requestLimit {
		r.Packed = nil // the change matters more than its place in the history
		if ops, err = v.operations(from, next, r, promote); err != nil {
			return 0, err
		}
		if size := requestSize(cmps, ops); size > v.opts.requestLimit {
			return 0, fmt.Errorf("config: %q: %w", v.name, &SizeError{Size: size, Limit: v.opts.requestLimit})
		}
	}
	if ops, err = nested(ops); err != nil {
		return 0, fmt.Errorf("config: %q: %w", v.name, err)
	}
	rev, err := v.try(ctx, cmps, ops)
	if !errors.Is(err, errUnanswered) {
		return rev, err
	}
	return v.settle(ctx, from, v.place.slot(r.N), err, func(now head, slot []byte) (bool, error) {
		var there record
		_ = json.Unmarshal(slot, &there)
		switch {
		case now.N < r.N:
			return false, nil // nobody has made an n-th change
		case there.N == r.N:
			return there.ID == r.ID, nil
		}
		return false, errors.New("so much was written since that the history has forgotten it")
	})
}

func (v *Value[T]) operations(from base, next body, r record, promote bool) ([]clientv3.Op, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("config: %q: %w", v.name, err)
	}
	ops := append(from.writes(v.place, next),
		clientv3.OpPut(v.place.slot(r.N), string(text)), clientv3.OpPut(v.place.head, head{N: r.N, ID: r.ID}.text()))
	if promote {
		ops = append(ops, clientv3.OpDelete(v.place.stage))
	}
	return ops, nil
}

func (h head) text() string {
	text, err := json.Marshal(h)
	if err != nil {
		panic("config: encode a head: " + err.Error()) // a number and a string
	}
	return string(text)
}

// errUnanswered marks the error of a write that may have been made or may still
// be.
var errUnanswered = errors.New("config: no answer")

// try is one attempt to write. Without an answer it is not repeated: what it
// compares could have been changed by itself.
func (v *Value[T]) try(ctx context.Context, cmps []clientv3.Cmp, ops []clientv3.Op) (int64, error) {
	if ended := v.ended(ctx); ended != nil {
		return 0, fmt.Errorf("config: %q: %w", v.name, ended)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	resp, err := v.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
	switch {
	case err == nil && resp.Succeeded:
		return resp.Header.Revision, nil
	case err == nil:
		return 0, errAgain
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return 0, fmt.Errorf("config: %q: %w: %w", v.name, ErrTooLarge, err)
	case refused(err):
		return 0, fmt.Errorf("config: %q: %w", v.name, err)
	}
	return 0, fmt.Errorf("%w: %w", errUnanswered, err)
}

// settle finds out what became of a write that compared the head and was not
// answered. It changes the head, unless that was changed already: after that the
// write has either been made, which found tells by what is there, or it never
// will be.
func (v *Value[T]) settle(ctx context.Context, from base, key string, why error,
	found func(now head, value []byte) (bool, error)) (int64, error) {
	settled := head{N: from.head.N, ID: "settled-" + rand.Text()}
	for failures := 1; ; failures++ {
		resp, err := v.settleOnce(ctx, from, key, settled)
		if err == nil && resp.Succeeded {
			return 0, errAgain
		}
		if err == nil {
			var now head
			if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) == 1 {
				_ = json.Unmarshal(kvs[0].Value, &now)
			}
			kvs := resp.Responses[1].GetResponseRange().Kvs
			var value []byte
			if len(kvs) == 1 {
				value = kvs[0].Value
			}
			made, err := found(now, value)
			switch {
			case err != nil:
				return 0, fmt.Errorf("%w: %q: %w", ErrUnknown, v.name, err)
			case !made:
				return 0, errAgain
			}
			return kvs[0].ModRevision, nil
		}
		backoff(ctx, failures)
		if ended := v.ended(ctx); ended != nil {
			return 0, fmt.Errorf("%w: %q: %w (%w)", ErrUnknown, v.name, ended, why)
		}
	}
}

func (v *Value[T]) settleOnce(ctx context.Context, from base, key string, settled head) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return v.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(v.place.head), "=", from.headRev)).
		Then(clientv3.OpPut(v.place.head, settled.text())).
		Else(clientv3.OpGet(v.place.head), clientv3.OpGet(key)).
		Commit()
}

// refused tells whether etcd, or the client, said no: nothing was written, and
// trying again will not help.
func refused(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.ResourceExhausted, codes.OutOfRange:
		return true
	}
	var etcd rpctypes.EtcdError
	if errors.As(err, &etcd) {
		switch etcd.Code() {
		case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.ResourceExhausted, codes.OutOfRange:
			return true
		}
	}
	return false
}
