package lock

import (
	"fmt"
	"strings"
	"time"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/leasekey"
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
	delay     time.Duration
	policy
	err error // why the lock cannot be used
}

// A policy is what the options say about each hold.
type policy struct {
	observer Observer
	maxHold  time.Duration // 0 for no limit
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

type maxHold time.Duration

// WithMaxHold bounds how long a handle lives: after d its context ends with a
// cause that matches ErrMaxHold, and the lock is released in the background. It
// is a watchdog against work that hangs.
//
// The lock is free once the work has unlocked it, or after the time that work
// has for stopping when a lease is lost: a tenth of the TTL, at least 200 ms and
// at most a second. Time in which the machine was suspended does not count. The
// read handle that Downgrade returns has the whole time again.
//
// It costs a timer for each handle, and no goroutine.
func WithMaxHold(d time.Duration) HoldOption { return maxHold(d) }

func (maxHold) eachHold() {}

func (d maxHold) apply(o *options) {
	o.maxHold = time.Duration(d)
	if d <= 0 {
		o.err = fmt.Errorf("%w: a hold of at most %v", ErrOption, time.Duration(d))
	}
}

// limit ends a hold that lasts too long.
func (p *policy) limit(hold *leasekey.Hold) {
	if p.maxHold == 0 {
		return
	}
	timer := time.AfterFunc(p.maxHold, func() { hold.Revoke(fmt.Errorf("%w of %v", ErrMaxHold, p.maxHold)) })
	hold.OnEnd(func(error) { timer.Stop() })
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

type lockDelay time.Duration

// MaxLockDelay bounds WithLockDelay.
const MaxLockDelay = time.Hour

// WithLockDelay makes the next holder wait after a crash: when the lease of a
// holder that has set this option has died, nobody who has set it gets the lock
// before d has passed since then. It is for work that reaches further than the
// process, such as requests under way to systems that cannot compare a token.
// After Unlock, a forced release or the session's Close there is no wait.
//
// The wait is that of the holder that died, up to three seconds longer than its d.
// Meanwhile Lock waits, first in the queue, and TryLock returns ErrLocked. If
// somebody revokes the holder's lease, the TTL is waited for as well.
//
// All users of a name should set it, in the same namespace: one who has not does
// not wait, and its crash makes nobody wait. It costs one transaction more for
// each acquisition that is not local, and for each session and d another lease,
// which is renewed together with the session's.
func WithLockDelay(d time.Duration) Option { return lockDelay(d) }

func (d lockDelay) apply(o *options) {
	o.delay = time.Duration(d)
	if d <= 0 || d > lockDelay(MaxLockDelay) {
		o.err = fmt.Errorf("%w: a lock-delay of %v is not between 0 and %v", ErrOption, time.Duration(d), MaxLockDelay)
	}
}
