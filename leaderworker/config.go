package leaderworker

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/session"
)

// Defaults of a Config, and its bounds.
const (
	DefaultDrain    = 30 * time.Second
	DefaultGrace    = time.Second
	DefaultMaxMoves = 256

	MaxPoolName   = 256 // bytes
	MaxWorkerName = 256
	maxDuration   = 24 * time.Hour
)

// Config is what Run needs. Session, Name, Shards and Work are required.
type Config struct {
	// Session is what the worker's keys hang on. Several pools can share it.
	Session *session.Session
	// Name is the pool's, 1 to 256 bytes.
	Name string
	// Shards says which shards there are. It is asked in the process that leads.
	Shards Source
	// Work is called, in a goroutine of its own, for each shard that this worker
	// owns. Its context has the values of that given to Run, and ends when the
	// shard is to be given up (ErrRevoked, or the cause of Run's context) or is
	// lost (ErrLost). The shard is released when Work has returned, and not
	// before.
	//
	// A Work that returns an error without being told to stop is called again
	// after a pause, which doubles from a tenth of a second to ten; one that
	// returns nil has no more to do, and the shard stays with the worker.
	Work func(ctx context.Context, shard Shard) error

	// Worker is this worker's name in the pool, which no other one that is there
	// may have. A process that comes back under the same name within the grace
	// gets its shards back; one whose name is taken waits. The default is the
	// session's name with something random behind it.
	Worker string
	// Share is how much this worker gets in proportion to others; 1 if it is 0.
	Share int
	// Capacity is the most weight of shards that it takes; 0 is no limit.
	Capacity int
	// Labels are what shards can require.
	Labels map[string]string

	// Drain is how long Work may take to return once it was told to stop, before
	// it is reported: DefaultDrain if it is 0. Nothing else happens then, because
	// there must not be two owners.
	Drain time.Duration
	// Grace is for how long the shards of a worker that is gone without leaving
	// are kept for it, from the end of its lease: DefaultGrace if it is 0, not at
	// all if it is negative. The leader's counts.
	Grace time.Duration
	// MaxMoves is how many shards may at once be on their way from one worker that
	// is there to another: DefaultMaxMoves if it is 0. Shards that have no owner,
	// or whose worker leaves, do not count. The leader's counts.
	MaxMoves int

	Observer Observer
	// Logger hears of what happens; the default is silence.
	Logger *slog.Logger
}

// check returns the configuration with its defaults, and the pool's prefix.
func (c Config) check() (Config, keys.Pool, error) {
	fail := func(format string, args ...any) (Config, keys.Pool, error) {
		return Config{}, "", fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
	}
	switch {
	case c.Session == nil:
		return fail("the session is nil")
	case c.Name == "" || len(c.Name) > MaxPoolName:
		return fail("a pool's name has 1 to %d bytes, this one has %d", MaxPoolName, len(c.Name))
	case c.Work == nil:
		return fail("pool %q: Work is nil", c.Name)
	case c.Shards.err != nil:
		return fail("pool %q: %w", c.Name, c.Shards.err)
	case c.Shards.run == nil:
		return fail("pool %q: Shards says nothing of which shards there are", c.Name)
	case len(c.Worker) > MaxWorkerName || !utf8.ValidString(c.Worker):
		return fail("pool %q: a worker's name has at most %d bytes of UTF-8, unlike %q", c.Name, MaxWorkerName, c.Worker)
	case c.Share < 0 || c.Share > MaxWeight:
		return fail("pool %q: the share %d is not between 0 and %d", c.Name, c.Share, MaxWeight)
	case c.Capacity < 0 || c.Capacity > MaxWeight:
		return fail("pool %q: the capacity %d is not between 0 and %d", c.Name, c.Capacity, MaxWeight)
	case c.Drain < 0 || c.Drain > maxDuration:
		return fail("pool %q: a drain of %v is not between 0 and %v", c.Name, c.Drain, maxDuration)
	case c.Grace > maxDuration:
		return fail("pool %q: a grace of %v is more than %v", c.Name, c.Grace, maxDuration)
	case c.MaxMoves < 0:
		return fail("pool %q: %d moves at once", c.Name, c.MaxMoves)
	}
	pool, err := keys.Space(c.Session.Namespace()).Pool(c.Name)
	if err != nil {
		return fail("pool %q: %w", c.Name, err)
	}
	c.Labels = maps.Clone(c.Labels)
	c.Drain = cmp.Or(c.Drain, DefaultDrain)
	c.Grace = max(0, cmp.Or(c.Grace, DefaultGrace))
	c.MaxMoves = cmp.Or(c.MaxMoves, DefaultMaxMoves)
	if c.Worker == "" {
		name := c.Session.Name()
		c.Worker = strings.ToValidUTF8(name[:min(len(name), MaxWorkerName/2)], "?") + "-" + random(4)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("pool", c.Name, "worker", c.Worker)
	return c, pool, nil
}

// random returns so many random bytes in hexadecimal.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

var hostAndPID = sync.OnceValues(func() (string, int) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host, os.Getpid()
})
