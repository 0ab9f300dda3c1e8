package world

import (
	"sync"
	"testing"
	"testing/synctest"

	_ "unsafe" // for go:linkname

	// Linked for valCtxCh, whatever else this package imports.
	_ "go.etcd.io/etcd/client/v3"
)

// valCtxCh is the Done channel of the context under every watch stream of
// etcd's client: it is made once for the process and never closed. To a bubble
// it is a channel from outside, and a goroutine that waits on such a channel
// holds time still for ever. So each bubble puts one of its own there.
//
//go:linkname valCtxCh go.etcd.io/etcd/client/v3.valCtxCh
var valCtxCh chan struct{}

// oneBubble is held while a bubble runs, because valCtxCh belongs to the process.
var oneBubble sync.Mutex

// inBubble runs f in a bubble of its own, and one bubble at a time.
func inBubble(t *testing.T, f func(t *testing.T)) {
	oneBubble.Lock()
	defer oneBubble.Unlock()
	outside := valCtxCh
	// Outside of the bubble its channel is forbidden: a client of a real
	// cluster in the same test binary would crash on it. (The race detector
	// complains of such a client nevertheless: nothing orders what it read.)
	defer func() { valCtxCh = outside }()
	synctest.Test(t, func(t *testing.T) {
		valCtxCh = make(chan struct{})
		f(t)
	})
}
