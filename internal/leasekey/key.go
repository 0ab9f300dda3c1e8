package leasekey

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/session"
)

// A Key is a key under an epoch's lease. One goroutine at a time may use it,
// but for Revision, Lost and OnLoss once it exists.
type Key struct {
	epoch   *session.Epoch
	name    string
	belongs []string // keys that are deleted together with this one

	revision int64          // the key's create revision, 0 until it is known
	doubt    *session.Fence // of an attempt to create the key whose outcome is unknown
	tracked  *session.Tracked

	mu     sync.Mutex
	lost   error       // why the key is gone or goes with its lease
	onLoss func(error) // told when that happens
	marker string      // what Mark has put beside the key, or tried to
	asked
}

// New returns a key that does not exist yet.
func New(epoch *session.Epoch, name string) *Key { return &Key{epoch: epoch, name: name} }

// Attach says that another key belongs to this one: it is put by the transaction
// that creates it, see Creation.Then, and is deleted with it.
func (k *Key) Attach(name string) { k.belongs = append(k.belongs, name) }

// Epoch is the epoch whose lease the key hangs on.
func (k *Key) Epoch() *session.Epoch { return k.epoch }

// Name is the key's name.
func (k *Key) Name() string { return k.name }

// Revision is the key's create revision, 0 if it does not exist.
func (k *Key) Revision() int64 { return k.revision }

// Guard is the comparison that holds while the key is this one.
func (k *Key) Guard() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(k.name), "=", k.revision)
}

// Track has the session tell when the key is gone. It returns the cause if the
// epoch has ended.
func (k *Key) Track() error {
	tracked := &session.Tracked{Key: k.name, Revision: k.revision, Lost: k.lose, Asked: k.ask}
	if err := k.epoch.Track(tracked); err != nil {
		return err
	}
	k.tracked = tracked
	return nil
}

// Untrack ends what Track began.
func (k *Key) Untrack() { k.epoch.Untrack(k.tracked) }

// lose is told by the session that the key is gone, or goes with its lease.
func (k *Key) lose(cause error) {
	k.mu.Lock()
	k.lost = cause
	tell, marked := k.onLoss, k.marker != ""
	k.mu.Unlock()
	if marked {
		k.dropMarker()
	}
	if tell != nil {
		tell(cause)
	}
}

// OnLoss has tell called when the key is lost, in place of what was to be
// called before, or when it is taken away; nil for nothing. If that has happened
// already, OnLoss returns the cause and tell is not called.
func (k *Key) OnLoss(tell func(cause error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.lost != nil:
		return k.lost
	case k.force && tell != nil:
		return ErrForced
	}
	k.onLoss = tell
	return nil
}

// Lost is why the key was lost, or nil.
func (k *Key) Lost() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lost
}

// Missing says why the key is gone, which a read of etcd has shown: with its
// lease, or alone.
func (k *Key) Missing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, AttemptTimeout)
	defer cancel()
	left, err := k.epoch.Session().Client().TimeToLive(ctx, k.epoch.Lease())
	if err == nil && left.TTL < 0 { // 0 is less than a second
		k.epoch.Report(rpctypes.ErrLeaseNotFound)
	}
	if err := k.epoch.Err(); err != nil {
		return err
	}
	return k.deleted()
}

func (k *Key) deleted() error { return &session.KeyError{Key: k.name, Revision: k.revision} }

// Release removes a tracked key. done is called once it is certainly gone, or
// goes with its lease.
//
// It returns nil if it removed the key, why it was lost if it had gone before,
// and an error that matches ErrPending if ctx ended before etcd had answered:
// the key is then removed in the background.
func (k *Key) Release(ctx context.Context, done func()) error {
	if !k.epoch.Untrack(k.tracked) {
		// It was lost in this very moment, with the lease or alone.
		done()
		if err := k.epoch.Err(); err != nil {
			return err
		}
		return k.deleted()
	}
	removed, err := k.remove(ctx)
	switch {
	case err != nil && k.epoch.Context().Err() != nil:
		done()
		return fmt.Errorf("%w with its lease: %w", ErrPending, k.epoch.Err())
	case err != nil:
		// It gives up only when the epoch ends, and the lease takes the key
		// along.
		k.epoch.Background(func(ctx context.Context) {
			defer done()
			_, _ = k.remove(ctx)
		})
		return fmt.Errorf("%w: %w", ErrPending, err)
	}
	done()
	if !removed {
		return k.deleted()
	}
	return nil
}

// remove deletes the key, trying until ctx or the epoch ends. It tells whether
// it was there, or may have been.
func (k *Key) remove(ctx context.Context) (bool, error) {
	for failures := 0; ; failures++ {
		along := k.along()
		resp, err := Commit(ctx, k.epoch, groupcommit.Txn{
			If:   []clientv3.Cmp{k.Guard()},
			Then: append(k.Deletions(), along...),
			Else: along,
		})
		if err == nil {
			// An earlier attempt may have deleted it without an answer.
			return resp.Succeeded || failures > 0, nil
		}
		k.epoch.Report(err)
		Pause(ctx, failures)
		if ended := cause(ctx, k.epoch); ended != nil {
			return false, fmt.Errorf("%w (last attempt: %w)", ended, err)
		}
	}
}

// Deletions delete the key and what belongs to it, in a transaction that
// compares Guard.
func (k *Key) Deletions() []clientv3.Op {
	ops := []clientv3.Op{clientv3.OpDelete(k.name)}
	for _, name := range k.belongs {
		ops = append(ops, clientv3.OpDelete(name))
	}
	return ops
}

// Discard removes what an unsuccessful acquisition may have left in etcd, and
// calls done then. It waits a moment, so that normally nothing is left when it
// returns; then the background goes on.
func (k *Key) Discard(done func()) {
	if k.tracked != nil && !k.epoch.Untrack(k.tracked) || k.revision == 0 && k.doubt == nil {
		done() // the key is gone, or never was
		return
	}
	over := make(chan struct{})
	k.epoch.Background(func(ctx context.Context) {
		defer close(over)
		defer done()
		// Both fail only if the epoch ends, and then the lease takes the key
		// along.
		if k.doubt != nil && !k.settle(ctx, *k.doubt) {
			return
		}
		if k.revision > 0 {
			_, _ = k.remove(ctx)
		}
	})
	grace := time.NewTimer(discardGrace)
	defer grace.Stop()
	select {
	case <-over:
	case <-grace.C:
	}
}

// Settle finds out what became of a creation that was not answered, trying
// until ctx or the epoch ends, and tells whether that is certain now: then
// Revision says whether the key exists.
func (k *Key) Settle(ctx context.Context) bool { return k.doubt == nil || k.settle(ctx, *k.doubt) }

// settle finds out whether the key exists, and its revision, trying until ctx
// ends.
func (k *Key) settle(ctx context.Context, f session.Fence) bool {
	for failures := 0; cause(ctx, k.epoch) == nil; failures++ {
		revision, err := k.epoch.Settle(ctx, f, k.name)
		if err == nil {
			k.revision, k.doubt = revision, nil
			return true
		}
		k.epoch.Report(err)
		Pause(ctx, failures)
	}
	return false
}

// cause is why nothing more can be done under ctx for an epoch, or nil.
func cause(ctx context.Context, e *session.Epoch) error {
	if err := e.Context().Err(); err != nil {
		return context.Cause(e.Context())
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
