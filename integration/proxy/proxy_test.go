package proxy_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gotenure/tenure/integration/proxy"
)

func TestPassDeliversEverythingAndTheEndOfTheStream(t *testing.T) {
	_, conn := start(t)
	sent := make([]byte, 4<<20)
	_, err := rand.Read(sent)
	require.NoError(t, err)
	var writer sync.WaitGroup
	writer.Go(func() {
		if _, err := conn.Write(sent); err != nil {
			t.Error(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	defer writer.Wait()
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.True(t, bytes.Equal(sent, got))
}

func TestPauseHoldsBytesAndDeliversThemLate(t *testing.T) {
	for _, mode := range []proxy.Mode{proxy.Pause, proxy.PauseRequests, proxy.PauseAnswers} {
		t.Run(mode.String(), func(t *testing.T) {
			p, conn := start(t)
			p.Set(mode)
			say(t, conn, "late")
			hearNothing(t, conn)
			p.Set(proxy.Pass)
			hear(t, conn, "late")
		})
	}
}

func TestAConnectionMadeInAPauseIsMadeWhenItEnds(t *testing.T) {
	p, _ := start(t)
	p.Set(proxy.Pause)
	conn := dial(t, p)
	say(t, conn, "late")
	hearNothing(t, conn)
	p.Set(proxy.Pass)
	hear(t, conn, "late")
}

func TestAConnectionThatLostBytesIsSilentForGood(t *testing.T) {
	for _, mode := range []proxy.Mode{proxy.BlackHole, proxy.DropRequests, proxy.DropAnswers} {
		t.Run(mode.String(), func(t *testing.T) {
			p, conn := start(t)
			quiet := dial(t, p)
			say(t, quiet, "before")
			hear(t, quiet, "before")

			p.Set(mode)
			say(t, conn, "lost")
			hearNothing(t, conn)
			p.Set(proxy.Pass)
			say(t, conn, "lost too")
			hearNothing(t, conn)

			say(t, quiet, "after")
			hear(t, quiet, "after")
			conn = dial(t, p)
			say(t, conn, "new")
			hear(t, conn, "new")
		})
	}
}

func TestHeldBytesAreSwallowedByABlackHole(t *testing.T) {
	p, conn := start(t)
	p.Set(proxy.Pause)
	say(t, conn, "lost")
	hearNothing(t, conn)
	p.Set(proxy.BlackHole)
	hearNothing(t, conn)
	p.Set(proxy.Pass)
	hearNothing(t, conn)
}

func TestAConnectionMadeInABlackHoleIsSilentForGood(t *testing.T) {
	p, _ := start(t)
	p.Set(proxy.BlackHole)
	conn := dial(t, p)
	say(t, conn, "lost")
	hearNothing(t, conn)
	p.Set(proxy.Pass)
	say(t, conn, "lost too")
	hearNothing(t, conn)
}

func TestARequestIsCarriedOutWhenOnlyAnswersAreDropped(t *testing.T) {
	requests := make(chan string, 1)
	p := proxyTo(t, serve(t, func(c net.Conn) {
		buf := make([]byte, 16)
		if n, err := c.Read(buf); err == nil {
			requests <- string(buf[:n])
			_, _ = c.Write([]byte("answer"))
		}
		_, _ = io.Copy(io.Discard, c)
	}))
	conn := dial(t, p)
	p.Set(proxy.DropAnswers)
	say(t, conn, "request")
	require.Equal(t, "request", <-requests)
	hearNothing(t, conn)
}

func TestRefuseResetsConnectionsOldAndNew(t *testing.T) {
	p, conn := start(t)
	say(t, conn, "x")
	hear(t, conn, "x")
	p.Set(proxy.Refuse)
	requireReset(t, conn)
	if conn, err := net.Dial("tcp", p.Addr()); err == nil {
		requireReset(t, conn)
	}
	p.Set(proxy.Pass)
	conn = dial(t, p)
	say(t, conn, "again")
	hear(t, conn, "again")
}

func TestDelayDoesNotAddUp(t *testing.T) {
	const d = 100 * time.Millisecond
	p, conn := start(t)
	p.Set(proxy.Delay(d))
	began := time.Now()
	for range 20 {
		say(t, conn, "x")
	}
	hear(t, conn, "xxxxxxxxxxxxxxxxxxxx")
	took := time.Since(began)
	require.GreaterOrEqual(t, took, 2*d)
	require.Less(t, took, 20*d)
}

func TestADelayThatIsLiftedLetsBytesGo(t *testing.T) {
	p, conn := start(t)
	p.Set(proxy.Delay(time.Hour))
	say(t, conn, "x")
	hearNothing(t, conn)
	p.Set(proxy.Pass)
	hear(t, conn, "x")
}

func TestATargetThatIsDownLooksDown(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	p := proxyTo(t, listener.Addr().String())
	if conn, err := net.Dial("tcp", p.Addr()); err == nil {
		requireReset(t, conn)
	}
}

func TestATargetThatHangsUpEndsTheConnection(t *testing.T) {
	p := proxyTo(t, serve(t, func(net.Conn) {}))
	conn := dial(t, p)
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestCloseLeavesNothingBehindInAnyMode(t *testing.T) {
	target := serve(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	for _, mode := range []proxy.Mode{
		proxy.Pass, proxy.Delay(time.Hour), proxy.Pause, proxy.PauseRequests, proxy.PauseAnswers,
		proxy.BlackHole, proxy.DropRequests, proxy.DropAnswers, proxy.Refuse,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			p, err := proxy.New(target)
			require.NoError(t, err)
			old := dial(t, p)
			say(t, old, "x")
			hear(t, old, "x")
			p.Set(mode)
			_, _ = old.Write(make([]byte, 1<<10))
			if young, err := net.Dial("tcp", p.Addr()); err == nil {
				defer func() { _ = young.Close() }()
				_, _ = young.Write([]byte("y"))
			}
			require.NoError(t, p.Close())
			require.NoError(t, p.Close())
			_, err = net.Dial("tcp", p.Addr())
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			requireOver(t, old)
			goleak.VerifyNone(t, before)
		})
	}
}

func TestModesChangeUnderTraffic(t *testing.T) {
	p, _ := start(t)
	var clients sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				conn, err := net.Dial("tcp", p.Addr())
				if err != nil {
					continue
				}
				_ = conn.SetDeadline(time.Now().Add(silence))
				_, _ = conn.Write([]byte("x"))
				_, _ = io.ReadFull(conn, make([]byte, 1))
				_ = conn.Close()
			}
		})
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	modes := []proxy.Mode{
		proxy.Pause, proxy.Pass, proxy.Refuse, proxy.BlackHole, proxy.Delay(time.Millisecond),
		proxy.DropAnswers, proxy.PauseRequests,
	}
	for i := range 200 {
		<-tick.C
		p.Set(modes[i%len(modes)])
	}
	close(done)
	clients.Wait()
	p.Set(proxy.Pass)
	conn := dial(t, p)
	say(t, conn, "fine")
	hear(t, conn, "fine")
}

func TestATargetWithoutAPortIsRefused(t *testing.T) {
	_, err := proxy.New("localhost")
	require.ErrorContains(t, err, "proxy: target")
}
