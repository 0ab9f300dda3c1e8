package world

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// A Node is one client process: an etcd client and the link that it has to the
// server. Its methods are safe for concurrent use.
type Node struct {
	name   string
	world  *World
	link   *link
	client *clientv3.Client
	close  sync.Once
}

// Dial makes a node. Its name must not be in use; that of a closed node is free
// again, as for a process that was restarted.
func (w *World) Dial(name string) *Node {
	w.t.Helper()
	n := w.dial(name, func(c net.Conn) bool { return w.doors.Load() && w.server.Load().admit(c) })
	w.mu.Lock()
	taken := w.nodes[name] != nil
	if !taken {
		w.nodes[name] = n
	}
	w.mu.Unlock()
	if taken {
		_ = n.client.Close()
		w.t.Fatalf("world: there is a node %q already", name)
	}
	w.tellLink(name, true)
	return n
}

// Node returns the node with that name, or nil.
func (w *World) Node(name string) *Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[name]
}

func (w *World) everyNode() []*Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.nodes))
}

func (w *World) dial(name string, accept func(net.Conn) bool) *Node {
	w.t.Helper()
	n := &Node{name: name, world: w, link: newLink()}
	cfg := clientConfig()
	if w.cfg.Client != nil {
		w.cfg.Client(&cfg)
	}
	cfg.Endpoints = []string{"http://" + string(serverAddr)}
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) { return n.link.dial(ctx, accept) }))
	client, err := clientv3.New(cfg)
	if err != nil {
		w.t.Fatalf("world: making the client of %q: %v", name, err)
	}
	n.client = client
	return n
}

// clientConfig is what a client of a coordination service should use: it
// notices a dead connection in 13 s and is back within half a second.
func clientConfig() clientv3.Config {
	return clientv3.Config{
		DialTimeout:          5 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay:  50 * time.Millisecond,
				Multiplier: 1.6,
				Jitter:     0.2,
				MaxDelay:   500 * time.Millisecond,
			},
			MinConnectTimeout: 3 * time.Second,
		})},
	}
}

// Name is the name given to Dial.
func (n *Node) Name() string { return n.name }

// Client is the node's etcd client. The node closes it.
func (n *Node) Client() *clientv3.Client { return n.client }

// Cut partitions the node from the server. Nothing arrives in either direction,
// and nothing says so; what is under way or sent meanwhile arrives after Mend,
// as it does when TCP sends again.
func (n *Node) Cut() { n.setLanes(func(l *link) { l.requests.cut, l.answers.cut = true, true }) }

// CutRequests holds what the node sends; answers arrive.
func (n *Node) CutRequests() { n.setLanes(func(l *link) { l.requests.cut = true }) }

// CutAnswers holds what the server sends: requests are carried out and the node
// does not learn it before Mend. With Reset it never does.
func (n *Node) CutAnswers() { n.setLanes(func(l *link) { l.answers.cut = true }) }

// Mend ends every cut. The delays stay.
func (n *Node) Mend() { n.setLanes(func(l *link) { l.requests.cut, l.answers.cut = false, false }) }

// Delay sets how long requests and answers are under way from now on.
func (n *Node) Delay(requests, answers time.Duration) {
	n.link.update(func() { n.link.requests.delay, n.link.answers.delay = requests, answers })
}

// Reset breaks the node's connections, cut or not. Both sides notice at once,
// and whatever was under way is lost for good.
func (n *Node) Reset() { n.link.reset() }

// Strand makes the node's connections silent for good while new ones work, as a
// firewall does that forgot them. Only a keepalive of gRPC finds out.
func (n *Node) Strand() { n.link.strand() }

// Close closes the node's client in the orderly way and frees its name.
func (n *Node) Close() {
	n.close.Do(func() {
		n.world.mu.Lock()
		delete(n.world.nodes, n.name)
		n.world.mu.Unlock()
		n.world.tellLink(n.name, false)
		_ = n.client.Close() // its error is that of the context it has just cancelled
	})
}

// Kill ends the node as a kill of its process does: its connections break, and
// nothing that its client still tries ever arrives. Then it closes the client,
// so that whoever uses it stops.
func (n *Node) Kill() {
	n.Cut()
	n.Reset()
	n.Close()
}

// setLanes changes what is cut and tells who asked to know.
func (n *Node) setLanes(change func(*link)) {
	var before, after bool
	n.link.update(func() {
		before = n.link.connected()
		change(n.link)
		after = n.link.connected()
	})
	if before != after {
		n.world.tellLink(n.name, after)
	}
}
