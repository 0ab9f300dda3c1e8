package election

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/waitqueue"
	"github.com/gotenure/tenure/session"
)

// An Election is a name for which at most one candidate at a time leads, among
// all processes that use the same etcd and the same namespace.
//
// An Election is cheap, has no state of its own and is safe for concurrent use.
// Any number of them may be made for one name. A session stands once at a time:
// a second Campaign of it waits until the first one's term is over.
type Election struct {
	session *session.Session
	name    string
	opts    options
	queue   *waitqueue.Queue
	seen    *Observer
	explain func(error) error
}

// New returns the election of that name. It does no I/O. Any name of 1 to 1,024
// bytes will do, and no name interferes with another. A name that cannot be
// used makes every method return an error that matches ErrName, an option that
// cannot work one that matches ErrOption.
func New(s *session.Session, name string, opts ...Option) *Election {
	o := resolve(keys.Space(s.Namespace()), name, opts)
	explain := explainer(name)
	return &Election{
		session: s,
		name:    name,
		opts:    o,
		queue:   waitqueue.New(s, o.prefix, 0, explain),
		seen:    &Observer{client: s.Client(), name: name, prefix: o.prefix, about: o.about, err: o.err, explain: explain},
		explain: explain,
	}
}

// Name returns the name that the election was made with.
func (e *Election) Name() string { return e.name }

// Prefix returns the key prefix under which the candidates' keys stand in
// etcd. It ends in a slash.
func (e *Election) Prefix() string { return e.opts.prefix }

// Leader returns who leads at present, see Observer.Leader.
func (e *Election) Leader(ctx context.Context) (Leader, error) { return e.seen.Leader(ctx) }

// Candidates returns who leads and who stands, see Observer.Candidates.
func (e *Election) Candidates(ctx context.Context) ([]Candidate, error) {
	return e.seen.Candidates(ctx)
}

// Observe follows who leads, see Observer.Observe.
func (e *Election) Observe(ctx context.Context, opts ...ObserveOption) iter.Seq2[Event, error] {
	return e.seen.Observe(ctx, opts...)
}

// Campaign stands for the election, waits until it is won, and returns the
// term. ctx bounds the waiting only; the term's own context tells when the term
// is over.
//
// A candidate whose session loses its lease, whose key is deleted, or that
// another one was preferred to, stands again by itself, at the end of the
// queue. So Campaign returns an error only when ctx ends, with its cause, when
// the session is closed, with session.ErrClosed, or when etcd refuses the
// candidate for good. Nothing of it is left in etcd then, or it is being
// removed.
//
// Call Resign when the work of the term has ended, also after the term's
// context has: only a term that was lost is over in etcd without it.
//
// Without contention it costs one transaction. With contention it costs one
// transaction, one watch and one to three reads.
func (e *Election) Campaign(ctx context.Context) (*Term, error) {
	if e.opts.err != nil {
		return nil, e.opts.err
	}
	leave, err := e.takeTurn(ctx)
	if err != nil {
		return nil, e.explain(fmt.Errorf("behind another campaign of this session: %w", err))
	}
	for failures := 0; ; failures++ {
		t, err := e.stand(ctx, leave, failures)
		var again *steppedBack
		switch {
		case err == nil:
			return t, nil
		case !errors.As(err, &again):
			return nil, e.explain(err)
		}
	}
}

type turnKey struct{ prefix string }

// takeTurn waits until nobody else of the session stands or leads, and returns
// what ends the caller's turn. Those who wait are served in order: they are
// senders on one channel.
func (e *Election) takeTurn(ctx context.Context) (leave func(), err error) {
	shared, letGo := e.session.Share(turnKey{e.opts.prefix}, func() any { return make(chan struct{}, 1) })
	turn := shared.(chan struct{})
	select {
	case turn <- struct{}{}:
		return func() { <-turn; letGo() }, nil
	case <-ctx.Done():
		letGo()
		return nil, context.Cause(ctx)
	}
}
