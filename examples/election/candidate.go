package main

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/election"
	"github.com/gotenure/tenure/session"
)

// electionName is what the candidates stand for.
const electionName = "scheduler"

// closeTime bounds the orderly end of a candidate.
const closeTime = 5 * time.Second

// A candidate stands for a process: it has an etcd client and a session of its own.
type candidate struct {
	name   string
	client *clientv3.Client
	s      *session.Session
	stop   context.CancelFunc
	ended  chan error
	terms  chan *election.Term // each term that it is elected for
}

// start connects a candidate with etcd and lets it take part.
func start(ctx context.Context, name string, etcd clientv3.Config, ttl time.Duration) (*candidate, error) {
	client, err := clientv3.New(etcd)
	if err != nil {
		return nil, err
	}
	s, err := session.New(ctx, client, session.WithName(name), session.WithTTL(ttl))
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	c := &candidate{name: name, client: client, s: s, ended: make(chan error, 1), terms: make(chan *election.Term, 10)}
	ctx, c.stop = context.WithCancel(ctx)
	go func() { c.ended <- c.run(ctx) }()
	return c, nil
}

// run is all that a program has to do: stand, work while it leads, stand again. What it proclaims is where it can be
// reached; observers get it with the news of the term.
func (c *candidate) run(ctx context.Context) error {
	e := election.New(c.s, electionName, election.WithValue([]byte(c.name+".example:80")))
	err := e.Run(ctx, func(ctx context.Context, t *election.Term) error {
		c.terms <- t
		<-ctx.Done() // the work; its context ends before anybody else can lead
		return nil
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// leave ends the candidate in good order: its work is stopped, then its term is given up, then its lease.
func (c *candidate) leave() error {
	c.stop()
	err := <-c.ended
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return errors.Join(err, c.s.Close(ctx), c.client.Close())
}

// crash ends the candidate as a power cut does, as far as etcd can see: it is not heard of again.
func (c *candidate) crash() {
	_ = c.client.Close()
}

// bury ends what is left of a crashed candidate in this program. Its lease cannot be given back.
func (c *candidate) bury() {
	c.stop()
	<-c.ended
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.s.Close(ctx)
}
