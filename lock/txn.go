package lock

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/leasekey"
)

// Txn begins a transaction that is carried out only if the lock is held at that
// very revision, whatever clocks and networks did meanwhile. It is used like
// one of the client:
//
//	resp, err := held.Txn(ctx).If(...).Then(...).Else(...).Commit()
//
// If the lock is not held, nothing is done, neither Then nor Else, and Commit
// returns an error that matches ErrNotHeld: the response never has to be asked
// which of the two failed. Otherwise response and error are the client's; after
// an error of etcd or of ctx the transaction may have been carried out, as
// always, and it is not repeated.
//
// It costs one transaction; none if the handle knows that it has ended. When it
// is etcd that says so, the handle's context ends before Commit returns. Room is
// left for 127 comparisons and operations of each kind.
//
// It stands on Guard and has the same consequence for Unlock.
func (h *Held) Txn(ctx context.Context) clientv3.Txn {
	return &guardedTxn{ctx: ctx, held: []*Held{h}}
}

// Txn begins a transaction that is carried out only if all of the locks are held
// at that very revision; see Held.Txn. With n locks, room is left for 128-n
// comparisons and operations of each kind.
func (h *HeldAll) Txn(ctx context.Context) clientv3.Txn {
	return &guardedTxn{ctx: ctx, held: h.held}
}

// A guardedTxn nests the user's transaction into one that compares the guards,
// so that etcd says which of the two failed.
type guardedTxn struct {
	ctx  context.Context
	held []*Held

	compare    []clientv3.Cmp
	then, orif []clientv3.Op
}

func (t *guardedTxn) If(cs ...clientv3.Cmp) clientv3.Txn {
	t.compare = append(t.compare, cs...)
	return t
}

func (t *guardedTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.then = append(t.then, ops...)
	return t
}

func (t *guardedTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.orif = append(t.orif, ops...)
	return t
}

func (t *guardedTxn) Commit() (*clientv3.TxnResponse, error) {
	var guards []clientv3.Cmp
	var keys []clientv3.Op
	for _, h := range t.held {
		guards = append(guards, h.hold.Guard())
		if err := h.hold.Err(); err != nil {
			return nil, h.notHeld(err)
		}
		keys = append(keys, clientv3.OpGet(h.hold.Key(), clientv3.WithKeysOnly()))
	}
	resp, err := t.held[0].epoch().Session().Client().Txn(t.ctx).
		If(guards...).
		Then(clientv3.OpTxn(t.compare, t.then, t.orif)).
		Else(keys...).
		Commit()
	if err != nil {
		return nil, fmt.Errorf("lock: %q: guarded transaction: %w", t.held[0].name, err)
	}
	if !resp.Succeeded {
		return nil, t.refused(resp)
	}
	inner := (*clientv3.TxnResponse)(resp.Responses[0].GetResponseTxn())
	inner.Header = resp.Header // a nested one has none
	return inner, nil
}

// refused says which of the locks was not held.
func (t *guardedTxn) refused(resp *clientv3.TxnResponse) error {
	var errs []error
	for i, h := range t.held {
		kvs := resp.Responses[i].GetResponseRange().Kvs
		err := h.hold.Err()
		if err == nil && (len(kvs) == 0 || kvs[0].CreateRevision != h.hold.Revision()) {
			err = h.hold.Gone(t.ctx)
		}
		if err != nil {
			errs = append(errs, h.notHeld(err))
		}
	}
	if len(errs) == 0 { // a guard may compare more than that the key is there
		return fmt.Errorf("%w: %q: its key was written by somebody else", ErrNotHeld, t.held[0].name)
	}
	return errors.Join(errs...)
}

func (h *Held) notHeld(cause error) error {
	if errors.Is(cause, leasekey.ErrReleased) {
		return fmt.Errorf("%w: %q: %w", ErrNotHeld, h.name, ErrUnlocked)
	}
	return fmt.Errorf("%w: %w", ErrNotHeld, explain(h.name, cause))
}
