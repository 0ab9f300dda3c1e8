package main

import (
	"context"
	"net"
	"strings"
	"sync"
)

// A link is a node's network: all its connections go through it. Cut, it is a black hole. Nothing fails and nothing
// is closed, there is just no answer: what a pulled cable or a dropped route looks like from inside, and worse than
// any error. Mended, it delivers what was under way, as TCP does.
type link struct {
	mu   sync.Mutex
	open chan struct{} // closed while the link is open
}

func newLink() *link {
	l := &link{open: make(chan struct{})}
	close(l.open)
	return l
}

// cut makes the link a black hole.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
		l.open = make(chan struct{})
	default: // it is one
	}
}

// mend makes the link work again.
func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

// passable returns a channel that is closed once the link is open.
func (l *link) passable() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// dial is for grpc.WithContextDialer.
func (l *link) dial(ctx context.Context, address string) (net.Conn, error) {
	select {
	case <-l.passable():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", strings.TrimPrefix(path, "//")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return l.wrap(conn), nil
}

func (l *link) wrap(conn net.Conn) net.Conn {
	return &linkConn{Conn: conn, link: l, closed: make(chan struct{})}
}

// A linkConn is a connection that goes through a link. While the link is cut its reads and writes wait for the link,
// or for Close; deadlines are not looked at, gRPC closes what it gives up.
type linkConn struct {
	net.Conn
	link   *link
	once   sync.Once
	closed chan struct{}
}

func (c *linkConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	// The link may have been cut while this was waiting for data: then they are still under way.
	if lost := c.wait(); lost != nil {
		return 0, lost
	}
	return n, err
}

func (c *linkConn) Write(p []byte) (int, error) {
	if err := c.wait(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *linkConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *linkConn) wait() error {
	select {
	case <-c.link.passable():
		return nil
	case <-c.closed:
		return net.ErrClosed
	}
}
