package session

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/gotenure/tenure/internal/keys"
)

const (
	// DefaultTTL is the lease's time to live unless WithTTL says otherwise: a
	// crashed process keeps what it holds for about that long.
	DefaultTTL = 10 * time.Second

	// MinTTL and MaxTTL bound WithTTL. etcd counts in whole seconds and grants
	// at least one and a half times its election timeout (2 s with its
	// defaults), so the granted TTL may be longer than the one asked for.
	MinTTL = time.Second
	MaxTTL = 24 * time.Hour

	maxSessionName = 256
)

// An Option changes a session's defaults.
type Option func(*config) error

type config struct {
	ttl      time.Duration
	name     string
	space    keys.Space
	log      *slog.Logger
	observer Observer
}

func newConfig(opts []Option) (config, error) {
	cfg := config{
		ttl:   DefaultTTL,
		space: keys.DefaultNamespace,
		log:   slog.New(slog.DiscardHandler),
	}
	for _, opt := range opts {
		if err := opt(&cfg); err != nil {
			return config{}, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	if cfg.name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		cfg.name = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	return cfg, nil
}

// WithTTL sets the lease's time to live, rounded up to whole seconds: how long
// what a crashed or cut-off process holds stays taken. Short TTLs hand over
// faster and forgive shorter interruptions.
func WithTTL(ttl time.Duration) Option {
	return func(c *config) error {
		if ttl < MinTTL || ttl > MaxTTL {
			return fmt.Errorf("TTL %v is not between %v and %v", ttl, MinTTL, MaxTTL)
		}
		c.ttl = (ttl + time.Second - 1).Truncate(time.Second)
		return nil
	}
}

// WithName names the session for people: it is what a queue shows for a holder
// or waiter. The default is the host name and the process id.
func WithName(name string) Option {
	return func(c *config) error {
		if name == "" || len(name) > maxSessionName {
			return fmt.Errorf("a session's name has 1 to %d bytes, this one has %d", maxSessionName, len(name))
		}
		c.name = name
		return nil
	}
}

// WithNamespace sets the key prefix under which this session and everything
// that hangs on it lives; the default is "/tenure/". Programs that are to meet
// on a name must use the same namespace.
func WithNamespace(namespace string) Option {
	return func(c *config) error {
		space, err := keys.NewSpace(namespace)
		c.space = space
		return err
	}
}

// WithLogger makes the session say what happens to its lease. The default is
// silence. Losses are warnings, everything else is information or debugging.
func WithLogger(log *slog.Logger) Option {
	return func(c *config) error {
		if log == nil {
			return fmt.Errorf("the logger is nil")
		}
		c.log = log
		return nil
	}
}

// WithObserver calls the observer's functions as the lease lives and dies.
func WithObserver(o Observer) Option {
	return func(c *config) error {
		c.observer = o
		return nil
	}
}
