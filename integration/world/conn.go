package world

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

const network = "world"

type address string

func (address) Network() string  { return network }
func (a address) String() string { return string(a) }

const serverAddr, nodeAddr address = "server", "node"

// An end is one side of a connection, a net.Conn.
type end struct {
	link *link
	wire *wire
	// Guarded by the link.
	in, out             *pipe
	closed              bool
	readBy, writeBy     time.Time // deadlines; zero means none
	readPoke, writePoke *time.Timer
}

var _ net.Conn = (*end)(nil)

// Read returns what has arrived, and waits while nothing has.
func (e *end) Read(buf []byte) (int, error) {
	e.link.mu.Lock()
	defer e.link.mu.Unlock()
	for {
		switch {
		case e.closed:
			return 0, failed("read", net.ErrClosed)
		case e.in.broken:
			return 0, failed("read", syscall.ECONNRESET)
		case passed(e.readBy):
			return 0, failed("read", os.ErrDeadlineExceeded)
		case len(buf) == 0:
			return 0, nil
		}
		n, ended := e.in.receive(buf)
		if n > 0 {
			e.link.changed.Broadcast() // there is room in the window
			return n, nil
		}
		if ended {
			return 0, io.EOF
		}
		e.link.changed.Wait()
	}
}

// Write puts data under way, and waits while the window is full.
func (e *end) Write(data []byte) (int, error) {
	e.link.mu.Lock()
	defer e.link.mu.Unlock()
	sent := 0
	for {
		switch {
		case e.closed:
			return sent, failed("write", net.ErrClosed)
		case e.out.broken:
			return sent, failed("write", syscall.ECONNRESET)
		case passed(e.writeBy):
			return sent, failed("write", os.ErrDeadlineExceeded)
		}
		if e.out.deaf || e.out.size < window {
			n, arrives := e.out.send(data[sent:], false)
			sent += n
			e.announce(arrives)
			if sent == len(data) {
				return sent, nil
			}
			continue
		}
		e.link.changed.Wait()
	}
}

// announce wakes the reader when what was sent arrives.
func (e *end) announce(arrives time.Time) {
	if d := time.Until(arrives); d > 0 {
		time.AfterFunc(d, e.link.poke)
		return
	}
	e.link.changed.Broadcast()
}

// Close ends the connection in the orderly way: what was written still arrives,
// and after it the end of the stream.
func (e *end) Close() error {
	e.link.mu.Lock()
	defer e.link.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	stopTimer(e.readPoke)
	stopTimer(e.writePoke)
	e.in.deaf = true
	e.in.drop()
	_, arrives := e.out.send(nil, true)
	e.announce(arrives)
	e.link.changed.Broadcast()
	if e.wire.open--; e.wire.open == 0 {
		delete(e.link.wires, e.wire)
	}
	return nil
}

func (e *end) LocalAddr() net.Addr {
	if e.out == &e.wire.requests {
		return nodeAddr
	}
	return serverAddr
}

func (e *end) RemoteAddr() net.Addr {
	if e.out == &e.wire.requests {
		return serverAddr
	}
	return nodeAddr
}

func (e *end) SetDeadline(t time.Time) error {
	return e.setDeadlines(t, true, true)
}

func (e *end) SetReadDeadline(t time.Time) error {
	return e.setDeadlines(t, true, false)
}

func (e *end) SetWriteDeadline(t time.Time) error {
	return e.setDeadlines(t, false, true)
}

func (e *end) setDeadlines(t time.Time, read, write bool) error {
	e.link.mu.Lock()
	defer e.link.mu.Unlock()
	if e.closed {
		return failed("set deadline", net.ErrClosed)
	}
	if read {
		e.readBy, e.readPoke = t, e.rearm(e.readPoke, t)
	}
	if write {
		e.writeBy, e.writePoke = t, e.rearm(e.writePoke, t)
	}
	e.link.changed.Broadcast()
	return nil
}

// rearm replaces the timer that wakes whoever waits at a deadline.
func (e *end) rearm(old *time.Timer, t time.Time) *time.Timer {
	stopTimer(old)
	if t.IsZero() {
		return nil
	}
	return time.AfterFunc(time.Until(t), e.link.poke)
}

func stopTimer(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

func passed(deadline time.Time) bool {
	return !deadline.IsZero() && !time.Now().Before(deadline)
}

func failed(op string, err error) error {
	return &net.OpError{Op: op, Net: network, Err: err}
}
