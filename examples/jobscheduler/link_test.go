package main

import (
	"context"
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// transfer begins to write on one end and to read on the other, and returns what comes out.
func transfer(from, to net.Conn) <-chan string {
	got := make(chan string, 1)
	go func() { _, _ = from.Write([]byte("hello")) }()
	go func() {
		p := make([]byte, 8)
		n, _ := to.Read(p)
		got <- string(p[:n])
	}()
	return got
}

func TestACutLinkHoldsBackBothDirectionsUntilItIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		pipe, far := net.Pipe()
		near := l.wrap(pipe)
		defer near.Close()
		defer far.Close()
		for _, way := range []struct{ from, to net.Conn }{{near, far}, {far, near}} {
			require.Equal(t, "hello", <-transfer(way.from, way.to))
			l.cut()
			got := transfer(way.from, way.to)
			synctest.Wait()
			require.Empty(t, got)
			l.mend()
			require.Equal(t, "hello", <-got)
		}
	})
}

func TestClosingAConnectionEndsItsWaitForACutLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		pipe, far := net.Pipe()
		defer far.Close()
		near := l.wrap(pipe)
		l.cut()
		failed := make(chan error, 1)
		go func() {
			_, err := near.Write([]byte("hello"))
			failed <- err
		}()
		synctest.Wait()
		require.NoError(t, near.Close())
		require.ErrorIs(t, <-failed, net.ErrClosed)
	})
}

func TestDialingThroughACutLinkHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		l.cut()
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := l.dial(ctx, "127.0.0.1:1")
			failed <- err
		}()
		synctest.Wait()
		require.Empty(t, failed)
		cancel()
		require.ErrorIs(t, <-failed, context.Canceled)
	})
}
