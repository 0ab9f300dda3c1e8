package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/election"
)

// show plays the whole story and ends by itself.
func show(ctx context.Context, cfg config, out io.Writer) (err error) {
	etcd, closeEtcd, err := connection(ctx, cfg.endpoints)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeEtcd()) }()
	client, err := clientv3.New(etcd)
	if err != nil {
		return err
	}
	defer client.Close()

	fmt.Fprintf(out, "Three candidates for the election %q, each with a client and a session of its own.\n\n", electionName)
	s := &story{out: out, begun: time.Now(), observer: election.NewObserver(client, "", electionName), news: make(chan election.Event, 100)}
	watching, stop := context.WithCancel(ctx)
	s.group.Go(func() { s.watch(watching) })
	defer s.group.Wait()
	defer stop()
	if _, err := s.awaits(ctx, func(election.Event) bool { return true }); err != nil {
		return err
	}
	return s.play(ctx, etcd, cfg.ttl)
}

// A story tells what happens, and what an observer makes of it.
type story struct {
	out      io.Writer
	begun    time.Time
	observer *election.Observer
	news     chan election.Event

	group sync.WaitGroup // of the goroutines that tell

	mu sync.Mutex // for out
}

func (s *story) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%6.3f s  %s\n", time.Since(s.begun).Seconds(), fmt.Sprintf(format, args...))
}

// watch is a program that only wants to know who leads: it is told of every term, and by whom it is held.
func (s *story) watch(ctx context.Context) {
	for ev, err := range s.observer.Observe(ctx) {
		switch {
		case err != nil:
			if ctx.Err() == nil {
				s.tell("          observer: %v", err)
			}
			return
		case ev.Kind == election.Vacant:
			s.tell("          observer: nobody leads")
		default:
			s.tell("          observer: %v, %s, token %d", ev.Kind, ev.Value, ev.Token)
		}
		s.news <- ev
	}
}

// awaits waits until the observer has seen a term, and returns when that was.
func (s *story) awaits(ctx context.Context, seen func(election.Event) bool) (time.Time, error) {
	for {
		select {
		case ev := <-s.news:
			if seen(ev) {
				return time.Now(), nil
			}
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		}
	}
}

func (s *story) play(ctx context.Context, etcd clientv3.Config, ttl time.Duration) (err error) {
	all := map[string]*candidate{}
	defer func() {
		for _, c := range all {
			err = errors.Join(err, c.leave())
		}
	}()
	for _, name := range []string{"north", "south", "west"} {
		c, err := start(ctx, name, etcd, ttl)
		if err != nil {
			return err
		}
		all[name] = c
		if err := s.standing(ctx, len(all)); err != nil { // one after the other, for the story's sake
			return err
		}
	}
	term := <-all["north"].terms
	if err := s.list(ctx); err != nil {
		return err
	}

	s.tell("north moves, and proclaims its new address")
	if err := term.Proclaim(ctx, []byte("north.example:8080")); err != nil {
		return err
	}
	s.tell("north hands over to west, past south, who was next")
	if err := term.Transfer(ctx, "west"); err != nil {
		return err
	}
	s.tell("north's work has stopped and west is the first: %v", context.Cause(term.Context()))
	term = <-all["west"].terms
	if err := s.standing(ctx, 3); err != nil { // south was moved; it and north stand again
		return err
	}
	if err := s.list(ctx); err != nil {
		return err
	}

	s.tell("west crashes; its lease of %v has to run out", all["west"].lease(ttl))
	crashed := time.Now()
	west := all["west"]
	delete(all, "west")
	west.crash()
	defer west.bury()
	over := term
	s.group.Go(func() {
		<-over.Context().Done()
		s.tell("west, if it still lives, knows by now that its term is over: valid %v", over.Valid())
	})
	token := term.Token()
	at, err := s.awaits(ctx, func(ev election.Event) bool { return ev.Kind == election.Elected && ev.Token > token })
	if err != nil {
		return err
	}
	s.tell("the next one leads %.1f s after the crash", at.Sub(crashed).Seconds())

	// Whichever of the two it is leaves, and the other one follows.
	leader, other := all["north"], all["south"]
	select {
	case term = <-leader.terms:
	case term = <-other.terms:
		leader, other = other, leader
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.tell("%s leaves in good order", leader.name)
	delete(all, leader.name)
	if err := leader.leave(); err != nil {
		return err
	}
	next := <-other.terms
	s.tell("%s leads, with token %d after %d", other.name, next.Token(), term.Token())
	delete(all, other.name)
	if err := other.leave(); err != nil {
		return err
	}
	if _, err := s.awaits(ctx, func(ev election.Event) bool { return ev.Kind == election.Vacant && ev.Revision > next.Token() }); err != nil {
		return err
	}
	s.tell("that was all")
	return nil
}

// standing waits until so many stand, the leader included.
func (s *story) standing(ctx context.Context, n int) error {
	for {
		list, err := s.observer.Candidates(ctx)
		if err != nil || len(list) == n {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *story) list(ctx context.Context) error {
	list, err := s.observer.Candidates(ctx)
	for i, c := range list {
		role := "stands"
		if i == 0 {
			role = "leads"
		}
		s.tell("  %d. %-6s %s, session of %s, pid %d", i+1, c.Name, role, c.Host, c.PID)
	}
	return err
}

// lease is the time to live that etcd granted.
func (c *candidate) lease(asked time.Duration) time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	epoch, err := c.s.Epoch(ctx)
	if err != nil {
		return asked
	}
	return epoch.TTL()
}
