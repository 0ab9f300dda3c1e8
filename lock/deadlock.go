package lock

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/gotenure/tenure/internal/leasekey"
	"github.com/gotenure/tenure/session"
)

// A link is put into the context of an acquisition, and so into its handle's:
// it makes a context know the locks that it descends from. Go has no identity
// of a thread of execution; the context is the nearest thing to it.
type link struct {
	prefix string
	held   atomic.Pointer[linked] // nil until acquired
	outer  *link
}

// A linked hold is what a link stands for: a writer's may become a reader's.
type linked struct {
	*leasekey.Hold
	read bool
}

func (l *link) set(hold *leasekey.Hold, read bool) { l.held.Store(&linked{hold, read}) }

type linkKey struct{}

// enterChain returns a context that knows of an acquisition of the lock with
// that prefix, or ErrDeadlock if ctx descends from a handle of the same lock
// that is still held. A link is set once the lock is held.
func enterChain(ctx context.Context, s *session.Session, prefix, name string, read bool) (context.Context, *link, error) {
	outer, _ := ctx.Value(linkKey{}).(*link)
	for l := outer; l != nil; l = l.outer {
		held := l.held.Load()
		if held == nil || !held.Valid() || l.prefix != prefix || !sameCluster(s, held.Hold) {
			continue
		}
		if held.read && !read {
			return nil, nil, fmt.Errorf("%w: %q", ErrUpgrade, name)
		}
		return nil, nil, fmt.Errorf("%w: %q is held by the caller's own context", ErrDeadlock, name)
	}
	own := &link{prefix: prefix, outer: outer}
	return context.WithValue(ctx, linkKey{}, own), own, nil
}

// sameCluster tells whether a hold is in the etcd cluster of s, though perhaps
// in another session.
func sameCluster(s *session.Session, hold *leasekey.Hold) bool {
	return hold.Epoch().Session() == s || hold.Epoch().Cluster() == s.Cluster()
}
