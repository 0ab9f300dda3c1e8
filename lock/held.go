package lock

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/admission"
	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/session"
)

// unlockTimeout bounds the unlocking that Do does, whose caller may have a
// context that has ended.
const unlockTimeout = 5 * time.Second

// A Held is the handle of a lock that was acquired. It is safe for concurrent
// use. Once it is lost or unlocked it stays so; to have the lock again, lock
// again.
type Held struct {
	name      string
	hold      *leasekey.Hold
	downgrade func(context.Context) (*admission.RWHold, error) // nil unless it is a writer's
}

// Context is cancelled when the lock is unlocked or lost, and in the latter
// case before etcd can give it to somebody else. Its cause matches ErrLost or
// ErrUnlocked. Its values are those of the context that was given to Lock.
func (h *Held) Context() context.Context { return h.hold.Context() }

// Valid tells whether the lock is certainly still held. It does no I/O, costs a
// reading of the clock, and is right in the first instruction after the
// process was stopped or suspended. Once false it stays false.
func (h *Held) Valid() bool { return h.hold.Valid() }

// Remaining is how long the lock is certainly held if etcd is not heard of
// again; zero once Valid is false. A work step that takes longer should not be
// begun without a guard.
func (h *Held) Remaining() time.Duration { return h.hold.Remaining() }

// Token is the fencing token: a later holder of the same lock always has a
// larger one. A store that remembers the largest token it has seen, and
// refuses smaller ones, cannot be written by a holder that was overtaken.
//
// It is the create revision of the holder's key in etcd times 2^16, plus a
// serial for the holds that followed each other on that key. Readers and
// holders of permits, who hold beside each other, have tokens in the order in
// which they queued up.
func (h *Held) Token() int64 { return token(h.hold.Revision(), h.hold.Serial()) }

// tokenBits is how much of a token counts the local holders of one key. The
// revision has the other 47 bits: at 100,000 writes a second they last for 44
// years.
const tokenBits = 16

func token(revision, local int64) int64 { return revision<<tokenBits | local }

// Guard returns the comparisons that hold while the lock is held, for the If of
// a transaction: the transaction then commits only if the ownership has not
// passed on, whatever clocks and networks did meanwhile. After Unlock or a loss
// it returns comparisons that never hold. Without any operation, or with reads
// only that are serializable, a transaction is answered by one member of etcd,
// which may be behind.
//
// A hold whose guard was asked for is deleted in etcd by Unlock, even if
// another goroutine of the session waits for the lock.
func (h *Held) Guard() []clientv3.Cmp { return []clientv3.Cmp{h.hold.Guard()} }

// Key is the key in etcd that stands for this hold, and its create revision. As
// it can be compared like a guard, asking for it has the same consequence.
func (h *Held) Key() (key string, revision int64) { return h.hold.Key(), h.hold.Revision() }

// Unlock gives the lock up. The handle's context ends and Valid is false before
// anything is sent. It returns nil once the key is deleted in etcd or handed to
// another goroutine of the session, ErrLost with the cause if the lock was lost
// before, ErrUnlocked if it was unlocked before, and ErrPending if ctx ended
// before etcd had confirmed: the release then goes on in the background.
//
// A deletion compares the handle's revision, so however often it is repeated,
// it never touches a later hold. It costs one transaction, or nothing if another
// goroutine of the session takes over.
func (h *Held) Unlock(ctx context.Context) error {
	return explain(h.name, h.hold.Release(ctx))
}

// Name is the name of the lock.
func (h *Held) Name() string { return h.name }

func (h *Held) err() error { return explain(h.name, h.hold.Err()) }

func (h *Held) epoch() *session.Epoch { return h.hold.Epoch() }

// A handle is what work is done under.
type handle interface {
	Context() context.Context
	Unlock(ctx context.Context) error
	err() error
	epoch() *session.Epoch
}

// run is the second half of every Do.
func run[H handle](ctx context.Context, h H, work func(context.Context, H) error) (err error) {
	joined := h.epoch().Work()
	defer joined()
	// A session that is being closed waits for work that it knows of. If it
	// did not know of this one, the lock is lost by now, and nothing has begun.
	if err := h.err(); err != nil {
		return err
	}

	inner, cancel := context.WithCancelCause(h.Context())
	defer cancel(nil)
	unhook := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	defer unhook()

	defer func() { // also when the work panics
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockTimeout)
		defer cancel()
		err = errors.Join(err, h.Unlock(ctx))
	}()
	return work(inner, h)
}
