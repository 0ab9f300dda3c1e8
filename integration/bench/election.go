package main

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"golang.org/x/sync/errgroup"

	"github.com/gotenure/tenure/election"
	"github.com/gotenure/tenure/session"
)

func electionRows() []row {
	return []row{
		// From the end of the old term, as its leader sees it, to the beginning of
		// the new one. What a transfer asks before is not in it.
		{
			name: "election/handover", unit: "ms", less: true,
			tenure: handovers(2, tenureCandidate, resigns), peer: handovers(2, etcdCandidate, resigns), peerName: etcdName,
			limit: oneCommit,
		},
		{
			name: "election/transfer", unit: "ms", less: true,
			tenure: handovers(3, tenureCandidate, transfers),
			limit:  oneCommit,
		},
		// From the resignation until all observers know who leads now.
		{
			name: "election/1000-observers", unit: "ms", less: true,
			tenure: observers(50, 1000, tenureCandidate), peer: observers(50, 1000, etcdCandidate), peerName: etcdName,
		},
		// From the kill of the leader's process to the next term; the slowest.
		{
			name: "election/crash/ttl-2s", unit: "ms", less: true, once: true,
			tenure: crashes("tenure", tenureCandidate), peer: crashes("etcd", etcdCandidate), peerName: etcdName,
		},
	}
}

// Standing is what a candidate can do, whichever package it is of.
type standing interface {
	campaign(ctx context.Context) error
	// ends returns when the term that was won last is over for its leader; the
	// zero time if it is from the call of resign on.
	ends() <-chan time.Time
	resign(ctx context.Context) error
	transfer(ctx context.Context, to string) error
	// observe calls told with the token of each term that it sees.
	observe(ctx context.Context, told func(token int64))
	prefix() string
}

// A stander makes a candidate of that name on a client.
type stander func(ctx context.Context, env *env, client *clientv3.Client, topic, name string, ttl time.Duration) (standing, error)

type ofTenure struct {
	*election.Election
	term *election.Term
}

func tenureCandidate(ctx context.Context, env *env, client *clientv3.Client, topic, name string, ttl time.Duration) (standing, error) {
	s, err := session.New(ctx, client, session.WithTTL(ttl), session.WithName(name))
	if err != nil {
		return nil, err
	}
	env.onClose(func() { s.Close(context.Background()) })
	return &ofTenure{Election: election.New(s, topic)}, nil
}

func (c *ofTenure) campaign(ctx context.Context) (err error) {
	c.term, err = c.Campaign(ctx)
	return err
}

func (c *ofTenure) ends() <-chan time.Time {
	at := make(chan time.Time, 1)
	context.AfterFunc(c.term.Context(), func() { at <- time.Now() })
	return at
}

func (c *ofTenure) resign(ctx context.Context) error              { return c.term.Resign(ctx) }
func (c *ofTenure) transfer(ctx context.Context, to string) error { return c.term.Transfer(ctx, to) }
func (c *ofTenure) prefix() string                                { return c.Prefix() }

func (c *ofTenure) observe(ctx context.Context, told func(int64)) {
	for ev, err := range c.Observe(ctx) {
		if err == nil && ev.Kind == election.Elected {
			told(ev.Token)
		}
	}
}

type ofEtcd struct {
	*concurrency.Election
	topic string
}

func etcdCandidate(ctx context.Context, env *env, client *clientv3.Client, topic, name string, ttl time.Duration) (standing, error) {
	s, err := concurrency.NewSession(client, concurrency.WithTTL(int(ttl/time.Second)), concurrency.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	env.onClose(func() { s.Close() })
	topic = "/etcd/" + topic
	return &ofEtcd{concurrency.NewElection(s, topic), topic + "/"}, nil
}

func (c *ofEtcd) campaign(ctx context.Context) error { return c.Campaign(ctx, "") }

func (c *ofEtcd) ends() <-chan time.Time {
	at := make(chan time.Time, 1)
	at <- time.Time{}
	return at
}

func (c *ofEtcd) resign(ctx context.Context) error       { return c.Resign(ctx) }
func (c *ofEtcd) transfer(context.Context, string) error { return fmt.Errorf("etcd knows no transfer") }
func (c *ofEtcd) prefix() string                         { return c.topic }
func (c *ofEtcd) observe(ctx context.Context, told func(int64)) {
	for answer := range c.Observe(ctx) {
		told(answer.Kvs[0].CreateRevision)
	}
}

// resigns and transfers are how the first of the candidates gives its term up,
// and which of them leads then.
func resigns(ctx context.Context, all []standing) (next int, err error) {
	return 1, all[0].resign(ctx)
}

func transfers(ctx context.Context, all []standing) (next int, err error) {
	return 2, all[0].transfer(ctx, fmt.Sprint(2))
}

// handovers returns the median time of a planned handover, in milliseconds.
// The candidates have been standing for a moment, as they have in life.
func handovers(n int, make stander, hand func(context.Context, []standing) (int, error)) contestant {
	return func(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
		all := []standing{}
		for i := range n {
			client, err := env.client()
			if err != nil {
				return nil, err
			}
			c, err := make(ctx, env, client, fmt.Sprintf("handovers-%d", n), fmt.Sprint(i), 30*time.Second)
			if err != nil {
				return nil, err
			}
			all = append(all, c)
		}
		client, err := env.client()
		if err != nil {
			return nil, err
		}
		return func(d time.Duration) (float64, error) {
			took := []float64{}
			for end := time.Now().Add(d); time.Now().Before(end) || len(took) == 0; {
				t, err := handover(ctx, client, all, hand)
				if err != nil {
					return 0, err
				}
				took = append(took, t)
			}
			return *median(took), nil
		}, nil
	}
}

// handover lines the candidates up, has the first one hand over, and returns
// how long it took until the next one led.
func handover(ctx context.Context, client *clientv3.Client, all []standing, hand func(context.Context, []standing) (int, error)) (float64, error) {
	type won struct {
		who int
		at  time.Time
	}
	wins := make(chan won, len(all))
	var group errgroup.Group
	for i, c := range all {
		group.Go(func() error {
			err := c.campaign(ctx)
			wins <- won{i, time.Now()}
			return err
		})
		if err := awaitKeys(ctx, client, c.prefix(), i+1); err != nil {
			return 0, err
		}
	}
	<-wins
	time.Sleep(3 * time.Millisecond) // for the last watch to be there
	ends, start := all[0].ends(), time.Now()
	next, err := hand(ctx, all)
	if err != nil {
		return 0, err
	}
	if at := <-ends; !at.IsZero() {
		start = at
	}
	led := <-wins
	if led.who != next {
		return 0, fmt.Errorf("candidate %d leads instead of %d", led.who, next)
	}
	took := milliseconds(led.at.Sub(start))
	for range len(all) - 2 { // whoever was moved
		if err := all[led.who].resign(ctx); err != nil {
			return 0, err
		}
		led = <-wins
	}
	if err := all[led.who].resign(ctx); err != nil {
		return 0, err
	}
	return took, group.Wait()
}

func awaitKeys(ctx context.Context, client *clientv3.Client, prefix string, n int) error {
	for {
		resp, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil || resp.Count == int64(n) {
			return err
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// oneCommit is the median time of a put, in milliseconds.
func oneCommit(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
	client, err := env.client()
	if err != nil {
		return nil, err
	}
	return func(d time.Duration) (float64, error) {
		took := []float64{}
		for end := time.Now().Add(d); time.Now().Before(end); {
			time.Sleep(3 * time.Millisecond) // as a handover does, which finds an idle etcd
			start := time.Now()
			if _, err := client.Put(ctx, "/limit/put", ""); err != nil {
				return 0, err
			}
			took = append(took, milliseconds(time.Since(start)))
		}
		return *median(took), nil
	}, nil
}
