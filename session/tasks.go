package session

import (
	"context"
	"sync"
)

// Work tells the session that something runs which must have returned before
// the lease is given back: Close cancels the epoch's context and then waits
// until done is called.
func (e *Epoch) Work() (done func()) { return e.session.tasks.begin() }

// Background runs f, typically a clean-up that the caller cannot wait for, in
// a goroutine that Close waits for. The context given to f is the epoch's: when
// it ends, the keys to be cleaned up end with the lease.
func (e *Epoch) Background(f func(ctx context.Context)) {
	done := e.session.tasks.begin()
	go func() {
		defer done()
		f(e.ctx)
	}()
}

// tasks counts what Close has to wait for. Unlike a WaitGroup it can be waited
// for with a time limit, and again.
type tasks struct {
	mu    sync.Mutex
	count int
	ended chan struct{} // if somebody waits: closed when count falls to 0
}

// begin counts something until done is called.
func (t *tasks) begin() (done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	return sync.OnceFunc(t.end)
}

func (t *tasks) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count--
	if t.count == 0 && t.ended != nil {
		close(t.ended)
		t.ended = nil
	}
}

// idle returns a channel that is closed once nothing is counted.
func (t *tasks) idle() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if t.ended == nil {
		t.ended = make(chan struct{})
	}
	return t.ended
}

func (t *tasks) running() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count > 0
}
