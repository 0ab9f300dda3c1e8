package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/session"
)

// Requested returns a channel that is closed once somebody has asked for the
// lock, with Request or Entry.Request. Whether to unlock early is up to the
// holder; a lock that was asked for is not retained after that, nor handed to
// another goroutine of the session. It costs nothing.
func (h *Held) Requested() <-chan struct{} { return h.hold.Asked() }

// Request asks whoever holds the lock to give it up: the handle's Requested
// channel is closed, and a lock that is only retained is given back at once. It
// returns when the request stands in etcd, which answers nothing else; a later
// holder is not asked. If nobody holds the lock there is nothing to do.
//
// It costs one range and one transaction. Call it before Lock, or beside it, to
// hurry the holder along.
func (m *Mutex) Request(ctx context.Context) error {
	return request(ctx, m.session, m.name, m.Queue)
}

// Request asks all holders of the lock, readers or writer, as Mutex.Request does.
func (m *RWMutex) Request(ctx context.Context) error {
	return request(ctx, m.session, m.name, m.Queue)
}

// Request asks all holders of permits, as Mutex.Request does.
func (m *Semaphore) Request(ctx context.Context) error {
	return request(ctx, m.session, m.name, m.Queue)
}

func request(ctx context.Context, s *session.Session, name string, queue func(context.Context) ([]Entry, error)) error {
	entries, err := queue(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Holds {
			errs = append(errs, e.ask(ctx, s.Client(), keys.Space(s.Namespace()), name, keys.Request{By: s.Name()}))
		}
	}
	return errors.Join(errs...)
}

// Request asks the owner of an entry that Queue has returned to give it up, as
// Mutex.Request does. It is for those who have a client and no session; by is
// what the owner's log shows. The namespace "" is the default one, and has to be
// that of the owner's session.
//
// It returns nil if the entry is gone, and ErrNoSession if its owner cannot be
// asked. etcd requires the permission to write the key that is asked for and the
// session's, and all that hang on its lease. It costs one transaction.
func (e Entry) Request(ctx context.Context, client *clientv3.Client, namespace, by string) error {
	return e.from(ctx, client, namespace, keys.Request{By: by})
}

// ForceRelease takes the lock from the owner of an entry, who has no say in it:
// the handle's context ends with ErrForced, and only then is the entry's key
// removed, once the work has unlocked it or after the time that work has for
// stopping when a lease is lost. So nobody has the lock beside the holder. A
// waiter loses its place.
//
// It returns when the key is gone, or an error when ctx ends: the session may be
// cut off, and then the key goes with its lease. The request stands in any case.
// Everything else is as for Request. It costs a transaction, a watch and a read.
func (e Entry) ForceRelease(ctx context.Context, client *clientv3.Client, namespace, by string) error {
	if err := e.from(ctx, client, namespace, keys.Request{By: by, Force: true}); err != nil {
		return err
	}
	return e.AwaitRelease(ctx, client)
}

// AwaitRelease waits until the entry's key is gone, and returns an error if ctx
// ends first. It costs a watch and a read.
func (e Entry) AwaitRelease(ctx context.Context, client *clientv3.Client) error {
	if err := leasekey.AwaitGone(ctx, client, e.Key, e.Revision); err != nil {
		return fmt.Errorf("lock: %q is not released yet: %w", e.Key, err)
	}
	return nil
}

func (e Entry) from(ctx context.Context, client *clientv3.Client, namespace string, r keys.Request) error {
	space, err := keys.NewSpace(cmp.Or(namespace, keys.DefaultNamespace))
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return e.ask(ctx, client, space, e.Key, r)
}

func (e Entry) ask(ctx context.Context, client *clientv3.Client, space keys.Space, name string, r keys.Request) error {
	r.Key, r.Revision = e.Key, e.Revision
	return explain(name, leasekey.Ask(ctx, client, space, e.Lease, r))
}
