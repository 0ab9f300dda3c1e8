// Package mailbox brings work to a goroutine that owns its data alone: others
// post functions, and the owner calls them between whatever else it does.
package mailbox

import "sync"

// A Box holds functions until their owner collects them. The zero value is not
// usable; see New. It is safe for concurrent use.
type Box struct {
	mu    sync.Mutex
	posts []func()
	bell  chan struct{}
}

// New returns an empty box.
func New() *Box { return &Box{bell: make(chan struct{}, 1)} }

// Bell tells the owner that there may be something to collect.
func (b *Box) Bell() <-chan struct{} { return b.bell }

// Ring rings the bell. It does not block.
func (b *Box) Ring() {
	select {
	case b.bell <- struct{}{}:
	default:
	}
}

// Post puts a function in and rings. It does not block.
func (b *Box) Post(f func()) {
	b.mu.Lock()
	b.posts = append(b.posts, f)
	b.mu.Unlock()
	b.Ring()
}

// Collect returns what was posted, in order, and empties the box.
func (b *Box) Collect() []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	posts := b.posts
	b.posts = nil
	return posts
}
