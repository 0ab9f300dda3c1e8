package lock

import (
	"time"

	"github.com/gotenure/tenure/internal/leasekey"
)

// An Observer is told how long locks are waited for and held; it is what metrics
// are made of. Nil functions are skipped. The functions are called from whatever
// goroutine it happens in, several at a time, and must return at once.
type Observer struct {
	// Acquired is called for every handle, before it is returned.
	Acquired func(Acquisition)
	// Failed is called for every attempt to lock that got no handle, ErrLocked
	// included. Attempts that are refused without I/O are not counted.
	Failed func(Failure)
	// Ended is called once for every handle, when its context has ended.
	Ended func(Ending)
}

// An Acquisition is a lock that was acquired.
type Acquisition struct {
	Name  string
	Token int64
	Wait  time.Duration // from the call to the handle
	// Ahead is how many keys of others were in the queue when this one's was
	// created, that of the holder included; a reader counts writers only. It is 0
	// if the key was taken over within the session, and -1 if it is not known,
	// because etcd's answer was lost.
	Ahead int
	// Local is how many goroutines of the same session had or awaited the lock
	// before. Mutexes only have a local queue.
	Local int
}

// A Failure is an attempt to lock that got no handle.
type Failure struct {
	Name string
	Wait time.Duration // from the call to its end
	Err  error         // what the call returns
}

// An Ending is a handle that has ended.
type Ending struct {
	Name  string
	Token int64
	Held  time.Duration // from the handle to the end of its context
	// Cause is that of the handle's context. It matches ErrUnlocked, or ErrLost
	// and what that comes with.
	Cause error
}

type observer Observer

// WithObserver calls the observer's functions as the lock is waited for, held
// and given up. It costs no request.
func WithObserver(o Observer) HoldOption { return observer(o) }

func (observer) eachHold() {}

func (o observer) apply(to *options) { to.observer = Observer(o) }

func (o *Observer) watches() bool { return o.Acquired != nil || o.Failed != nil || o.Ended != nil }

// An attempt is one call that is to end with a handle.
type attempt struct {
	name   string
	policy policy
	began  time.Time // zero if nobody wants to know
}

func (p policy) attempt(name string) attempt {
	a := attempt{name: name, policy: p}
	if p.observer.watches() {
		a.began = time.Now()
	}
	return a
}

// failed is what the call returns after an error of the queue.
func (a attempt) failed(err error) error {
	err = explain(a.name, err)
	a.tell(err)
	return err
}

func (a attempt) tell(err error) {
	if f := a.policy.observer.Failed; f != nil {
		f(Failure{Name: a.name, Wait: time.Since(a.began), Err: err})
	}
}

// held makes the handle.
func (a attempt) held(hold *leasekey.Hold) *Held {
	h := &Held{name: a.name, hold: hold}
	o := a.policy.observer
	if f := o.Acquired; f != nil {
		ahead := hold.Ahead()
		f(Acquisition{Name: a.name, Token: h.Token(), Wait: time.Since(a.began), Ahead: ahead.Keys, Local: ahead.Local})
	}
	if f := o.Ended; f != nil {
		since, token := time.Now(), h.Token()
		hold.OnEnd(func(cause error) { f(Ending{Name: a.name, Token: token, Held: time.Since(since), Cause: cause}) })
	}
	a.policy.limit(hold)
	return h
}
