package embedded

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestAFreePortThatIsTakenInBetweenIsReplaced(t *testing.T) {
	thief, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer thief.Close()
	stolen := thief.Addr().(*net.TCPAddr).Port

	for _, at := range []int{0, 3, 5} { // a peer's port of the first member, clients' ports of the first and the last
		picked := 0
		pick := func(taken map[int]bool) (int, error) {
			picked++
			if picked == at+1 {
				return stolen, nil
			}
			return pickPort(taken)
		}
		c, err := start(t.Context(), Config{Members: 3, NoFsync: true, Tick: 10 * time.Millisecond}, pick)
		require.NoError(t, err)
		require.Equal(t, 12, picked, "one attempt takes six ports")
		_, err = c.Client().Put(t.Context(), "key", "value")
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
}

func TestThereIsAnEndToReplacingPorts(t *testing.T) {
	thief, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer thief.Close()
	pick := func(map[int]bool) (int, error) { return thief.Addr().(*net.TCPAddr).Port, nil }
	_, err = start(t.Context(), Config{NoFsync: true}, pick)
	require.ErrorIs(t, err, ErrPortTaken)

	none := errors.New("no port")
	_, err = start(t.Context(), Config{}, func(map[int]bool) (int, error) { return 0, none })
	require.ErrorIs(t, err, none)
}

// A start is cancelled at the n-th thing that etcd logs, for many n: it either does not notice any more, or leaves
// nothing behind.
func TestAStartIsCancelledAtAnyTime(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	before := goleak.IgnoreCurrent()
	reason := errors.New("changed my mind")
	var cancelled, completed int
	for n := 1; completed == 0; n += 31 {
		ctx, cancel := context.WithCancelCause(t.Context())
		var seen atomic.Int64
		core := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(io.Discard), zap.DebugLevel)
		spy := zap.New(core, zap.Hooks(func(zapcore.Entry) error {
			if seen.Add(1) == int64(n) {
				cancel(reason)
			}
			return nil
		}))
		c, err := Start(ctx, Config{Members: 3, NoFsync: true, Tick: 10 * time.Millisecond, RootPassword: "secret", TLS: &TLS{}, Logger: spy})
		if err == nil {
			completed++
			require.NoError(t, c.Close())
		} else {
			cancelled++
			require.ErrorIs(t, err, reason)
		}
		cancel(nil)
		goleak.VerifyNone(t, before)
		left, err := os.ReadDir(temporary)
		require.NoError(t, err)
		require.Empty(t, left)
	}
	require.Greater(t, cancelled, 10)
}
