package world

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"
)

func TestAConnectionBehavesAsOneOfTheNetwork(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		node, server := connect(t, newLink())
		return node, server, func() { _ = node.Close(); _ = server.Close() }, nil
	})
}

func TestWhatIsSentIntoACutArrivesAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		node, server := connect(t, l)
		l.update(func() { l.requests.cut = true })
		_, err := node.Write([]byte("late"))
		require.NoError(t, err)
		require.NoError(t, node.Close())
		time.AfterFunc(time.Minute, func() { l.update(func() { l.requests.cut = false }) })

		began := time.Now()
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		require.Equal(t, "late", string(got))
		require.Equal(t, time.Minute, time.Since(began))
	})
}

func TestAResetLosesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		node, server := connect(t, l)
		l.update(func() { l.answers.cut = true })
		_, err := server.Write([]byte("lost"))
		require.NoError(t, err)
		l.reset()
		l.update(func() { l.answers.cut = false })
		for _, c := range []net.Conn{node, server} {
			_, err := c.Read(make([]byte, 8))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			_, err = c.Write([]byte("x"))
			require.ErrorIs(t, err, syscall.ECONNRESET)
		}
	})
}

func TestBytesAreUnderWayForTheDelayOfTheirDirectionAndDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		node, server := connect(t, l)
		l.update(func() { l.requests.delay = time.Second })
		began := time.Now()
		for range 3 {
			_, err := node.Write([]byte("x"))
			require.NoError(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		for i := range 3 {
			_, err := io.ReadFull(server, make([]byte, 1))
			require.NoError(t, err)
			require.Equal(t, time.Second+time.Duration(i)*100*time.Millisecond, time.Since(began))
		}
		_, err := server.Write([]byte("y"))
		require.NoError(t, err)
		_, err = node.Read(make([]byte, 1))
		require.NoError(t, err)
		require.Equal(t, 1200*time.Millisecond, time.Since(began), "the answer has no delay")
	})
}

func TestAWriterWaitsWhenTheWindowIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		node, server := connect(t, l)
		written := make(chan error, 1)
		go func() {
			_, err := node.Write(make([]byte, window+1))
			written <- err
		}()
		synctest.Wait()
		require.Empty(t, written)
		_, err := io.ReadFull(server, make([]byte, window+1))
		require.NoError(t, err)
		require.NoError(t, <-written)
	})
}

func TestADialWaitsForTheCutAndGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		l.update(func() { l.answers.cut = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := l.dial(ctx, func(net.Conn) bool { return true })
		require.ErrorIs(t, err, context.DeadlineExceeded)

		time.AfterFunc(time.Minute, func() { l.update(func() { l.answers.cut = false }) })
		began := time.Now()
		_, err = l.dial(t.Context(), func(net.Conn) bool { return true })
		require.NoError(t, err)
		require.Equal(t, time.Minute, time.Since(began))
	})
}

func TestADialIsRefusedWhereNobodyListens(t *testing.T) {
	listener := newListener()
	require.NoError(t, listener.Close())
	_, err := newLink().dial(t.Context(), listener.offer)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func connect(t *testing.T, l *link) (node, server net.Conn) {
	t.Helper()
	listener := newListener()
	node, err := l.dial(t.Context(), listener.offer)
	require.NoError(t, err)
	server, err = listener.Accept()
	require.NoError(t, err)
	return node, server
}
