package lock

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/gotenure/tenure/internal/leasekey"
)

// A link is put into the context of an acquisition, and so into its handle's:
// it makes a context know the locks that it descends from. Go has no identity
// of a thread of execution; the context is the nearest thing to it.
type link struct {
	prefix string
	hold   atomic.Pointer[leasekey.Hold] // nil until acquired
	outer  *link
}

type linkKey struct{}

// enterChain returns a context that knows m, or ErrDeadlock if ctx descends from
// a handle of the same lock that is still held.
func enterChain(ctx context.Context, m *Mutex) (context.Context, *link, error) {
	outer, _ := ctx.Value(linkKey{}).(*link)
	for l := outer; l != nil; l = l.outer {
		if hold := l.hold.Load(); hold != nil && hold.Valid() && l.prefix == m.Prefix() && m.sameCluster(hold) {
			return nil, nil, fmt.Errorf("%w: %q is held by the caller's own context", ErrDeadlock, m.name)
		}
	}
	own := &link{prefix: m.Prefix(), outer: outer}
	return context.WithValue(ctx, linkKey{}, own), own, nil
}

// sameCluster tells whether a hold is in the etcd cluster of m, though perhaps
// in another session.
func (m *Mutex) sameCluster(hold *leasekey.Hold) bool {
	return hold.Epoch().Session() == m.session || hold.Epoch().Cluster() == m.session.Cluster()
}
