//go:build unix

package main

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A line is a connection to etcd that can be cut.
type line struct {
	listener net.Listener
	running  sync.WaitGroup

	mu   sync.Mutex
	open []net.Conn
	done bool // it was cut
}

// lineTo returns a line to an endpoint.
func lineTo(t *testing.T, endpoint string) *line {
	t.Helper()
	target := strings.TrimPrefix(endpoint, "http://")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &line{listener: listener}
	l.running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				continue
			}
			l.join(near, far)
		}
	})
	t.Cleanup(l.cut)
	return l
}

func (l *line) address() string { return l.listener.Addr().String() }

func (l *line) join(near, far net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		near.Close()
		far.Close()
		return
	}
	l.open = append(l.open, near, far)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		l.running.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // ends with either connection
			near.Close()
			far.Close()
		})
	}
}

// cut ends all connections for good.
func (l *line) cut() {
	l.listener.Close()
	l.mu.Lock()
	l.done = true
	for _, conn := range l.open {
		conn.Close()
	}
	l.mu.Unlock()
	l.running.Wait()
}
