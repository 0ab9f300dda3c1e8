package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/gotenure/tenure/embedded"
	"github.com/gotenure/tenure/session"
)

// A clerk is a process of its own as far as etcd can see: it has a connection and a session.
type clerk struct {
	client  *clientv3.Client
	session *session.Session

	mu    sync.Mutex
	conns []net.Conn
	isCut bool
}

// newClerk opens a session whose lease runs out two seconds after the last renewal.
func newClerk(ctx context.Context, cluster *embedded.Cluster, name string) (*clerk, error) {
	c := &clerk{}
	cfg := cluster.ClientConfig()
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithContextDialer(c.dial))
	var err error
	if c.client, err = clientv3.New(cfg); err != nil {
		return nil, err
	}
	c.session, err = session.New(ctx, c.client, session.WithName(name), session.WithTTL(2*time.Second))
	if err != nil {
		return nil, errors.Join(err, c.client.Close())
	}
	return c, nil
}

var errCut = errors.New("cut off from etcd")

func (c *clerk) dial(ctx context.Context, address string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isCut {
		return nil, errCut
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

// cut ends the connections to etcd and lets no new ones come about.
func (c *clerk) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = true
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// close ends the session, connected again, and the client.
func (c *clerk) close() error {
	c.mu.Lock()
	c.isCut = false
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(c.session.Close(ctx), c.client.Close())
}
