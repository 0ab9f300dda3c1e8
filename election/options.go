package election

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gotenure/tenure/internal/keys"
)

// An Option changes how an election is addressed or how this session takes
// part in it.
type Option interface{ apply(*options) }

// An AddressOption is an Option that says where an election is.
type AddressOption interface {
	Option
	address()
}

type options struct {
	prefix   string // of the election's keys; ends in a slash
	about    string // of the candidates' descriptions; ends in a slash
	value    []byte
	health   *Health
	priority Priority
	ranked   bool
	err      error // why the election cannot be used
}

// resolve applies the options to an election of that name.
func resolve[O Option](space keys.Space, name string, opts []O) options {
	var o options
	o.prefix, o.err = space.Election(name)
	for _, opt := range opts {
		opt.apply(&o)
	}
	if o.err == nil {
		o.about, o.err = space.Candidates(o.prefix)
	}
	if o.err != nil && !ours(o.err) {
		o.err = fmt.Errorf("%w: %w", ErrName, o.err)
	}
	return o
}

// fail remembers the first reason for which the election cannot be used.
func (o *options) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

type atKey string

// AtKey puts the election at a raw key prefix instead of under its name in the
// session's namespace, to share it with programs that use etcd's own
// concurrency.Election, `etcdctl elect` or the v3election service: give it the
// name that they use. The rules are then those programs' as well: a prefix
// takes part in no election of a prefix that it extends with a slash, but they
// mistake it for that.
func AtKey(prefix string) AddressOption { return atKey(prefix) }

func (atKey) address() {}

func (prefix atKey) apply(o *options) {
	o.prefix, o.err = string(prefix)+"/", nil
	if strings.Trim(string(prefix), "/") == "" {
		o.err = fmt.Errorf("%w: the key prefix %q", ErrName, string(prefix))
	}
}

type value []byte

// WithValue is what the leader proclaims from the first instant of its term,
// such as the address at which it is to be reached. Observers get it with the
// news of the term. The default is an empty value.
func WithValue(v []byte) Option { return value(v) }

func (v value) apply(o *options) { o.value = v }

// A Priority makes some candidates better than others. It is meant to be given
// to all candidates of an election; one that has none ranks 0 and hands over
// to nobody by itself.
//
// A leader hands over to a candidate of a higher rank, and whoever gives a term
// up hands over to the one with the highest rank, among equals to the one who
// came first. Only who leads after a crash is decided by the order of coming
// alone, and then put right.
type Priority struct {
	// Rank is larger for better candidates.
	Rank int
	// After is for how long a better candidate must have been standing, as seen
	// by the leader, before the leader hands over to it: a candidate that comes
	// and goes does not take the lead with it each time. It is also the least
	// that a term lasts before it ends in that way. The leader's counts.
	// The default is DefaultAfter.
	After time.Duration
	// Wait has the candidate wait until the leader gives up the term for a reason
	// of its own, instead of taking over from a leader of a lower rank.
	Wait bool
}

// DefaultAfter is for how long a better candidate must have been standing.
const DefaultAfter = 10 * time.Second

// WithPriority gives the candidate a rank. It costs a leader one watch.
func WithPriority(p Priority) Option { return p }

func (p Priority) apply(o *options) {
	if p.After < 0 {
		o.fail(fmt.Errorf("%w: better candidates take over after %v", ErrOption, p.After))
	}
	if p.After == 0 {
		p.After = DefaultAfter
	}
	o.priority, o.ranked = p, true
}

// Health is a check that a candidate must pass to stand and to stay.
type Health struct {
	// Check returns nil if all is well. Its context ends after Every; one that
	// does not heed it holds up the closing of the session.
	Check func(context.Context) error
	// Every is the time between two checks. The default is DefaultEvery.
	Every time.Duration
	// Failures is how many checks in a row may fail before a leader ends its term
	// and a candidate steps back. The default is DefaultFailures.
	Failures int
}

// Defaults of Health.
const (
	DefaultEvery    = 5 * time.Second
	DefaultFailures = 3
)

// WithHealth lets the candidate stand only after the check has passed, and
// step back when it has failed as often as stated. A leader's term then ends
// with the cause ErrUnhealthy; its place in etcd is given up when the work has
// returned in Run, and otherwise by Resign. Run stands again once the check
// passes.
func WithHealth(h Health) Option { return h }

func (h Health) apply(o *options) {
	if h.Check == nil || h.Every < 0 || h.Failures < 0 {
		o.fail(fmt.Errorf("%w: a health check without a function, every %v, for %d failures", ErrOption, h.Every, h.Failures))
	}
	if h.Every == 0 {
		h.Every = DefaultEvery
	}
	if h.Failures == 0 {
		h.Failures = DefaultFailures
	}
	o.health = &h
}
