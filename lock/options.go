package lock

import (
	"fmt"
	"strings"
	"time"

	"github.com/gotenure/tenure/internal/keys"
)

// An Option changes how a lock is addressed or how it behaves.
type Option interface{ apply(*options) }

// A HoldOption is an Option that changes how a lock is held: not only a Mutex
// takes it, but also an RWMutex and a Semaphore.
type HoldOption interface {
	Option
	eachHold()
}

// An AddressOption is an Option that says where a lock is.
type AddressOption interface {
	Option
	address()
}

type options struct {
	prefix    string // of the lock's keys; ends in a slash
	retention time.Duration
	policy
	err error // why the lock cannot be used
}

// A policy is what the options say about each hold.
type policy struct {
	observer Observer
}

// resolveHold applies the options of a lock that is not a mutex.
func resolveHold(opts []HoldOption) (policy, error) {
	var o options
	for _, opt := range opts {
		opt.apply(&o)
	}
	return o.policy, o.err
}

// resolve applies the options to a lock of that name.
func resolve[O Option](space keys.Space, name string, opts []O) options {
	var o options
	o.prefix, o.err = space.Lock(name)
	if o.err != nil {
		o.err = fmt.Errorf("%w: %w", ErrName, o.err)
	}
	for _, opt := range opts {
		opt.apply(&o)
	}
	return o
}

type atKey string

// AtKey puts the lock at a raw key prefix instead of under its name in the
// session's namespace, to share it with programs that use etcd's own
// concurrency.Mutex, `etcdctl lock` or the v3lock service: give it the name
// that they use. The rules are then those programs' as well: a prefix blocks
// on prefixes that extend it with a slash.
func AtKey(prefix string) AddressOption { return atKey(prefix) }

func (atKey) address() {}

func (prefix atKey) apply(o *options) {
	o.prefix, o.err = string(prefix)+"/", nil
	if strings.Trim(string(prefix), "/") == "" {
		o.err = fmt.Errorf("%w: the key prefix %q", ErrName, string(prefix))
	}
}

type retention time.Duration

// MaxRetention bounds WithRetention.
const MaxRetention = time.Hour

// WithRetention keeps the lock in etcd after Unlock, until another session
// queues up for it or d has passed without use. Until then locking it again
// through the same session, with an equal option, costs no request: a few
// microseconds instead of two commits. Another session's wish costs it one
// commit and one event more than if the lock were free.
//
// For others the lock looks held while it is retained: Queue shows it, and
// their TryLock, which does not queue up, returns ErrLocked. A crash leaves it
// taken for a TTL. A hold whose guard was asked for is not retained.
func WithRetention(d time.Duration) Option { return retention(d) }

func (r retention) apply(o *options) {
	o.retention = time.Duration(r)
	if r <= 0 || r > retention(MaxRetention) {
		o.err = fmt.Errorf("%w: a retention of %v is not between 0 and %v", ErrOption, time.Duration(r), MaxRetention)
	}
}
