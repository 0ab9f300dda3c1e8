package proxy

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// A conn is one proxied connection: a pipe for each direction.
type conn struct {
	proxy  *Proxy
	client *net.TCPConn
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	mu     sync.Mutex
	target *net.TCPConn // nil until dialled
	over   bool
}

func newConn(p *Proxy, client *net.TCPConn) *conn {
	c := &conn{proxy: p, client: client}
	c.ctx, c.cancel = context.WithCancel(p.ctx)
	return c
}

// reset ends the connection with a RST on both sides, whatever is under way.
func (c *conn) reset() { c.end(abort) }

// close ends a connection whose streams have ended: what the kernel still holds
// is delivered.
func (c *conn) close() { c.end(func(tcp *net.TCPConn) { _ = tcp.Close() }) }

func (c *conn) end(closeTCP func(*net.TCPConn)) {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.over = true
	closeTCP(c.client)
	if c.target != nil {
		closeTCP(c.target)
	}
}

// abort closes with a RST. Errors are those of a connection that is gone.
func abort(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// run proxies until the connection is over. It owns the goroutines below it.
func (c *conn) run() {
	if !c.dial() {
		c.reset()
		return
	}
	var pipes sync.WaitGroup
	requests := pipe{c, c.client, c.target, func(m Mode) treatment { return m.requests }}
	answers := pipe{c, c.target, c.client, func(m Mode) treatment { return m.answers }}
	pipes.Go(requests.run)
	pipes.Go(answers.run)
	pipes.Wait()
	c.close()
}

// dial connects to the target as soon as the mode lets a connection through.
func (c *conn) dial() bool {
	for {
		mode, changed := c.proxy.current()
		switch {
		case mode.both(swallow):
			// Nobody will ever answer. What the client sends is read away until
			// it gives up.
			_, _ = io.Copy(io.Discard, c.client)
			return false
		case !mode.both(hold):
			return c.connect()
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
			return false
		}
	}
}

func (c *conn) connect() bool {
	var d net.Dialer
	target, err := d.DialContext(c.ctx, "tcp", c.proxy.target)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		abort(target.(*net.TCPConn))
		return false
	}
	c.target = target.(*net.TCPConn)
	return true
}

// chunkSize and queueLength bound what the proxy itself holds of one direction.
const (
	chunkSize   = 32 << 10
	queueLength = 64
)

// A pipe is one direction of a connection.
type pipe struct {
	conn      *conn
	from, to  *net.TCPConn
	treatment func(Mode) treatment
}

// A chunk is what one read gave.
type chunk struct {
	read time.Time
	data []byte
	err  error // io.EOF or what broke the connection; then it is the last one
}

// run reads and delivers in two goroutines, so that a delay does not add up.
func (p pipe) run() {
	queue := make(chan chunk, queueLength)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(queue)
		p.read(queue)
	})
	defer reader.Wait()
	for c := range queue {
		if !p.deliver(c) {
			p.conn.drain(queue)
			return
		}
	}
}

func (p pipe) read(queue chan<- chunk) {
	for {
		buf := make([]byte, chunkSize)
		n, err := p.from.Read(buf)
		select {
		case queue <- chunk{time.Now(), buf[:n], err}:
		case <-p.conn.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// deliver is false when nothing more is to be delivered in this direction.
func (p pipe) deliver(c chunk) bool {
	for {
		mode, changed := p.conn.proxy.current()
		switch p.treatment(mode) {
		case swallow:
			return false
		case deliver:
			wait := time.Until(c.read.Add(mode.delay))
			if wait <= 0 {
				return p.write(c)
			}
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
				return p.write(c)
			case <-changed:
			case <-p.conn.ctx.Done():
			}
			timer.Stop()
		case hold:
			select {
			case <-changed:
			case <-p.conn.ctx.Done():
			}
		}
		if p.conn.ctx.Err() != nil {
			return false
		}
	}
}

func (p pipe) write(c chunk) bool {
	if len(c.data) > 0 {
		if _, err := p.to.Write(c.data); err != nil {
			p.conn.reset()
			return false
		}
	}
	switch c.err {
	case nil:
		return true
	case io.EOF:
		_ = p.to.CloseWrite()
	default:
		p.conn.reset()
	}
	return false
}

// drain reads a direction away until the connection is over or has ended.
func (c *conn) drain(queue <-chan chunk) {
	for {
		select {
		case _, more := <-queue:
			if !more {
				return
			}
		case <-c.ctx.Done():
			return
		}
	}
}
