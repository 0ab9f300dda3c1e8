package world

import (
	"net"
	"sync"
)

// A listener hands connections to one incarnation of the server.
type listener struct {
	mu      sync.Mutex
	changed *sync.Cond
	backlog []net.Conn
	closed  bool
}

var _ net.Listener = (*listener)(nil)

func newListener() *listener {
	l := &listener{}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// offer queues a connection for Accept, and is false when nobody listens.
func (l *listener) offer(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.backlog = append(l.backlog, c)
	l.changed.Signal()
	return true
}

func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.backlog) == 0 && !l.closed {
		l.changed.Wait()
	}
	if l.closed {
		return nil, failed("accept", net.ErrClosed)
	}
	c := l.backlog[0]
	l.backlog = l.backlog[1:]
	return c, nil
}

// Close refuses what comes from now on and hangs up on whom nobody accepted.
func (l *listener) Close() error {
	l.mu.Lock()
	left := l.backlog
	l.backlog, l.closed = nil, true
	l.changed.Broadcast()
	l.mu.Unlock()
	// Not under the lock: dial holds its link and then takes this lock.
	for _, c := range left {
		_ = c.Close()
	}
	return nil
}

func (l *listener) Addr() net.Addr { return serverAddr }
