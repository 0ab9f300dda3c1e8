package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/leaderworker"
	"github.com/gotenure/tenure/session"
)

// A worker is what would be a process of its own.
type worker struct {
	name    string
	client  *clientv3.Client
	session *session.Session
	leave   context.CancelFunc
	done    chan error // what Run returned
}

// hire starts a worker: the whole of what a program does to take part.
func (p *pool) hire(ctx context.Context, name string) error {
	client, err := p.connect()
	if err != nil {
		return err
	}
	s, err := session.New(ctx, client, session.WithTTL(ttl), session.WithName(name))
	if err != nil {
		return errors.Join(err, client.Close())
	}
	life, leave := context.WithCancel(context.Background())
	w := &worker{name: name, client: client, session: s, leave: leave, done: make(chan error, 1)}
	p.workers[name] = w
	go func() {
		w.done <- leaderworker.Run(life, leaderworker.Config{
			Session: s, Name: p.name, Worker: name,
			Shards: leaderworker.Numbered(shardCount),
			Work: func(ctx context.Context, sh leaderworker.Shard) error {
				p.begin(name, sh)
				<-ctx.Done() // here it would work
				p.end(sh)
				return nil
			},
		})
	}()
	return nil
}

// leave has a worker give its shards up in good order.
func (p *pool) leave(name string) error {
	w := p.workers[name]
	delete(p.workers, name)
	w.leave()
	err := <-w.done
	return errors.Join(err, w.session.Close(context.Background()), w.client.Close())
}

// cutOff takes a worker's connection away: it can tell nobody.
func (p *pool) cutOff(name string) { _ = p.workers[name].client.Close() }

// dismiss ends whoever is left.
func (p *pool) dismiss() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, w := range p.workers {
		w.leave()
		<-w.done
		_ = w.session.Close(ctx) // the one that is cut off cannot say good-bye
		_ = w.client.Close()
	}
}

// A pool is what the program sees of its workers.
type pool struct {
	out     io.Writer
	name    string
	client  *clientv3.Client // the observer's
	connect func() (*clientv3.Client, error)
	workers map[string]*worker

	mu     sync.Mutex
	at     map[string]string // who works on a shard
	tokens map[string]int64  // the last owner's
	begun  int
	wrong  []string
}

func newPool(out io.Writer, client *clientv3.Client, connect func() (*clientv3.Client, error)) *pool {
	return &pool{
		out: out, client: client, connect: connect, name: fmt.Sprintf("example-%d", time.Now().UnixNano()),
		workers: map[string]*worker{}, at: map[string]string{}, tokens: map[string]int64{},
	}
}

func (p *pool) begin(name string, sh leaderworker.Shard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if other, busy := p.at[sh.Name()]; busy {
		p.wrong = append(p.wrong, fmt.Sprintf("shard %s: %s began while %s worked on it", sh.Name(), name, other))
	}
	if sh.Token() <= p.tokens[sh.Name()] {
		p.wrong = append(p.wrong, fmt.Sprintf("shard %s: the token fell to %d", sh.Name(), sh.Token()))
	}
	p.at[sh.Name()], p.tokens[sh.Name()] = name, sh.Token()
	p.begun++
}

func (p *pool) end(sh leaderworker.Shard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.at, sh.Name())
}

// shared waits until the shards are evenly with these workers, and prints the table.
func (p *pool) shared(ctx context.Context, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for range p.client.Watch(ctx, "/tenure/pools/"+p.name+"/", clientv3.WithPrefix(), clientv3.WithCreatedNotify()) {
		status, err := leaderworker.Status(ctx, p.client, "", p.name)
		if err != nil {
			return err
		}
		owned := map[string][]string{}
		for _, s := range status.Shards {
			owned[s.Owner] = append(owned[s.Owner], s.Name)
		}
		if slices.Equal(slices.Sorted(maps.Keys(owned)), names) && even(owned) && status.Leader != "" {
			p.table(status.Leader, owned)
			return nil
		}
	}
	return fmt.Errorf("it did not come to this in %v: %w", patience, context.Cause(ctx))
}

func even(owned map[string][]string) bool {
	total := 0
	for _, shards := range owned {
		if len(shards) != shardCount/len(owned) {
			return false
		}
		total += len(shards)
	}
	return total == shardCount
}

func (p *pool) table(leader string, owned map[string][]string) {
	for _, name := range slices.Sorted(maps.Keys(owned)) {
		role := ""
		if name == leader {
			role = "leads"
		}
		fmt.Fprintf(p.out, "  %-5s %-6s %s\n", name, role, strings.Join(owned[name], " "))
	}
}

// verdict says whether it was as promised.
func (p *pool) verdict() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.wrong) > 0 {
		return errors.New(strings.Join(p.wrong, "; "))
	}
	fmt.Fprintf(p.out, "\nWork began %d times. No shard was ever worked on twice at a time, and each owner had a larger token.\n", p.begun)
	return nil
}
