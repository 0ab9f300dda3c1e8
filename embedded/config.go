package embedded

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// What etcd itself takes when nothing is said.
const (
	defaultTick            = 100 * time.Millisecond
	defaultElectionTimeout = time.Second
	ticksPerElection       = defaultElectionTimeout / defaultTick
)

// Config says what Start starts. The zero Config is one member on free ports with its data in a temporary folder.
type Config struct {
	// Members is how many members the cluster has. 0 means as many as the folder holds, or 1.
	// An even number is allowed, but survives no more failures than the odd number below it: see Warnings.
	Members int

	// Dir keeps the data. It is created if need be, and has to be empty or hold a cluster that Start made; such
	// a cluster is continued. Empty means a temporary folder that Close removes.
	Dir string

	// ClientPorts and PeerPorts are the ports on 127.0.0.1, one for each member, or none for free ports. A 0
	// stands for a free port. A cluster that is continued keeps its ports.
	ClientPorts []int
	PeerPorts   []int

	// Tick is the time between heartbeats and ElectionTimeout the silence after which the members elect another
	// leader. If one is 0 it follows from the other, by a factor of 10; if both are, they are 100 ms and 1 s.
	// The shortest lease that etcd grants is one and a half election timeouts, rounded up to seconds.
	Tick            time.Duration
	ElectionTimeout time.Duration

	// NoFsync is for tests: it leaves it to the operating system when data reaches the disk, so that a crash of the
	// machine may destroy the data, and takes little trouble to hash passwords.
	NoFsync bool

	// QuotaBytes is the size of a member's database at which the cluster refuses to store more. 0 means etcd's
	// default of 2 GiB.
	QuotaBytes int64

	// Retention is for how long the past of a key can be read and watched; older revisions are compacted away
	// without being asked. 0 keeps everything.
	Retention time.Duration

	// TLS makes clients speak TLS. nil means plain text.
	TLS *TLS

	// RootPassword, if set, turns authentication on and becomes the password of etcd's user root. For a cluster
	// that is continued it has to be the password of then. A new cluster is open to whoever finds its ports until
	// Start returns.
	RootPassword string

	// Logger gets what the members and the cluster's clients have to say. nil means silence.
	Logger *zap.Logger
}

// Bounds that etcd sets.
const (
	maxElectionTimeout = 50 * time.Second
	minTicksPerTimeout = 5
	minRetention       = 10 * time.Millisecond // etcd looks ten times in this time
)

// withDefaults fills in what was left out, except for Members, which the folder may decide.
func (c Config) withDefaults() Config {
	switch {
	case c.Tick == 0 && c.ElectionTimeout == 0:
		c.Tick, c.ElectionTimeout = defaultTick, defaultElectionTimeout
	case c.Tick == 0:
		c.Tick = (c.ElectionTimeout / ticksPerElection).Truncate(time.Millisecond)
	case c.ElectionTimeout == 0:
		c.ElectionTimeout = c.Tick * ticksPerElection
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

// validate reports everything that is wrong at once. It touches nothing outside of the Config.
func (c Config) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.Members < 0 {
		wrong("%d members", c.Members)
	}
	if c.Tick < time.Millisecond || c.Tick%time.Millisecond != 0 {
		wrong("tick %v: whole milliseconds are needed", c.Tick)
	}
	if c.ElectionTimeout%time.Millisecond != 0 {
		wrong("election timeout %v: whole milliseconds are needed", c.ElectionTimeout)
	}
	if c.ElectionTimeout < minTicksPerTimeout*c.Tick || c.ElectionTimeout > maxElectionTimeout {
		wrong("election timeout %v: it has to be between %d ticks of %v and %v",
			c.ElectionTimeout, minTicksPerTimeout, c.Tick, maxElectionTimeout)
	}
	if c.QuotaBytes < 0 {
		wrong("quota of %d bytes", c.QuotaBytes)
	}
	if c.Retention < 0 || c.Retention > 0 && c.Retention < minRetention {
		wrong("retention %v: at least %v is needed, or 0 to keep everything", c.Retention, minRetention)
	}
	errs = append(errs, checkPorts(c.ClientPorts, c.PeerPorts)...)
	if c.TLS != nil {
		errs = append(errs, c.TLS.validate())
	}
	return errors.Join(errs...)
}

// warnings says what works, but probably not as hoped.
func (c Config) warnings() []string {
	var w []string
	if c.Members%2 == 0 {
		w = append(w, fmt.Sprintf("an even number of members, %d, survives the loss of %d, no more than %d would",
			c.Members, (c.Members-1)/2, c.Members-1))
	}
	if c.NoFsync && c.Dir != "" {
		w = append(w, "without fsync a crash of the machine may destroy the data in "+c.Dir)
	}
	return w
}
