package world

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A link is the network between one node and the server. Its connections share
// its two lanes, so that a partition meets all of them in the same instant.
type link struct {
	mu sync.Mutex
	// changed is told of everything that may let somebody go on: a lane, a
	// connection, a deadline, the arrival of delayed bytes.
	changed  *sync.Cond
	requests lane // from the node to the server
	answers  lane // from the server to the node
	wires    map[*wire]struct{}
}

// A lane is one direction of a link.
type lane struct {
	cut   bool          // nothing arrives until it is mended
	delay time.Duration // how long bytes are under way
}

// A wire is one connection: two pipes, and an end at either side.
type wire struct {
	requests, answers pipe
	node, server      end
	open              int // ends that are not closed
}

func newLink() *link {
	l := &link{wires: make(map[*wire]struct{})}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// update changes the link under its lock and wakes whoever waits for a change.
func (l *link) update(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	l.changed.Broadcast()
}

// poke wakes whoever waits, because time has made the difference.
func (l *link) poke() { l.update(func() {}) }

// connected tells whether both lanes are open. The caller holds the lock.
func (l *link) connected() bool { return !l.requests.cut && !l.answers.cut }

// reset breaks every connection: what is under way is lost, and both sides see
// the connection reset at once, even on a lane that is cut.
func (l *link) reset() {
	l.update(func() {
		for w := range l.wires {
			w.requests.reset()
			w.answers.reset()
		}
	})
}

// hangUp closes every connection on the side of the server. The node learns it
// when the end of the stream arrives.
func (l *link) hangUp() {
	l.mu.Lock()
	wires := slices.Collect(maps.Keys(l.wires))
	l.mu.Unlock()
	for _, w := range wires {
		_ = w.server.Close()
	}
}

// strand makes every connection silent for good, and lets new ones work.
func (l *link) strand() {
	l.update(func() {
		for w := range l.wires {
			w.requests.stranded, w.answers.stranded = true, true
		}
	})
}

// dial makes a connection, gives the server's end of it to accept, and returns
// the node's. Like a SYN it waits while a lane is cut, and costs a round trip.
func (l *link) dial(ctx context.Context, accept func(net.Conn) bool) (net.Conn, error) {
	stop := context.AfterFunc(ctx, l.poke)
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for arrived := false; !arrived; {
		for !l.connected() {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			l.changed.Wait()
		}
		roundTrip := l.requests.delay + l.answers.delay
		if roundTrip == 0 {
			break
		}
		l.mu.Unlock()
		err := sleep(ctx, roundTrip)
		l.mu.Lock()
		if err != nil {
			return nil, err
		}
		arrived = l.connected()
	}
	w := &wire{open: 2}
	w.requests.lane, w.answers.lane = &l.requests, &l.answers
	w.node = end{link: l, wire: w, in: &w.answers, out: &w.requests}
	w.server = end{link: l, wire: w, in: &w.requests, out: &w.answers}
	if !accept(&w.server) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: serverAddr, Err: syscall.ECONNREFUSED}
	}
	l.wires[w] = struct{}{}
	return &w.node, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
