package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// acceptPause is how long accepting waits after an error: that of a client that
// has gone already, or of a process that is out of files and may not be soon.
const acceptPause = 5 * time.Millisecond

// A Proxy listens on a free port of the loopback interface and connects whoever
// comes to its target. Its methods are safe for concurrent use.
type Proxy struct {
	target   string
	listener net.Listener
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu      sync.Mutex
	mode    Mode
	changed chan struct{} // closed and replaced when the mode changes
	conns   map[*conn]struct{}
}

// New starts a proxy in mode Pass. The target, host:port, need not be up: it is
// dialled for each connection.
func New(target string) (*Proxy, error) {
	if _, _, err := net.SplitHostPort(target); err != nil {
		return nil, fmt.Errorf("proxy: target: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{
		target:   target,
		listener: listener,
		mode:     Pass,
		changed:  make(chan struct{}),
		conns:    make(map[*conn]struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens, host:port. It stays the same for its life.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set changes the mode, for existing connections and those to come.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	close(p.changed)
	p.changed = make(chan struct{})
	if m.refuse {
		for c := range p.conns {
			c.reset()
		}
	}
}

// Close ends every connection and returns when no goroutine of the proxy is
// left. Closing again does nothing.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		c.reset()
	}
	p.mu.Unlock()
	p.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// current returns the mode and a channel that is closed when it changes.
func (p *Proxy) current() (Mode, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.changed
}

// accept never stops listening before Close, not even in mode Refuse: somebody
// else could take the port.
func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			select {
			case <-p.ctx.Done():
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		c := newConn(p, client.(*net.TCPConn))
		if !p.add(c) {
			c.reset()
			continue
		}
		p.running.Go(func() {
			c.run()
			p.remove(c)
		})
	}
}

// add is false for a connection that came too late or is not wanted.
func (p *Proxy) add(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode.refuse || p.ctx.Err() != nil {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}
