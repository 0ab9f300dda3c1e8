package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	root     = "/tenure-jobscheduler/" // before all keys of this example
	patience = time.Minute             // with each step
)

// A play is the show while it goes on.
type play struct {
	cfg     settings
	etcd    *store
	screen  *screen
	witness *witness
	board   *board

	group    *errgroup.Group
	ctx      context.Context // of the nodes
	ticking  context.Context // ends before it, so that the tasks can be done
	nodes    []*node
	complete bool // all steps were taken

	before, jobs map[string]jobSpec // the jobs at first, and at last
	changed      change             // when they were changed, zero if they were not
}

// show is the whole program. It returns errCheck if what the nodes left in etcd is not as it should be.
func show(ctx context.Context, cfg settings, out io.Writer) (err error) {
	printTitle(out, cfg)
	etcd, err := openStore(ctx, cfg.endpoints)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.close()) }()
	etcd.namespace = root + rand.Text() + "/"
	defer func() { err = errors.Join(err, etcd.clear(ctx)) }()
	jobs, err := putJobs(ctx, etcd, firstJobs, true)
	if err != nil {
		return err
	}
	p := &play{cfg: cfg, etcd: etcd, before: jobs.Value.Jobs, jobs: jobs.Value.Jobs,
		screen: newScreen(out), witness: newWitness()}
	p.board = &board{client: etcd.client, namespace: etcd.namespace, screen: p.screen, witness: p.witness, nodes: map[string]*node{}}
	played := p.run(ctx)

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return errors.Join(played, p.conclude(ctx))
}

// run has the nodes run until the story is over, or ctx is, and returns when they have ended.
func (p *play) run(ctx context.Context) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	p.group, p.ctx = errgroup.WithContext(life)
	ticking, stopTicks := context.WithCancel(p.ctx)
	defer stopTicks()
	p.ticking = ticking

	watching, stopWatch := context.WithCancel(context.WithoutCancel(ctx))
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stopWatch()

	script, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)() // a node has failed
	watch.Go(func() { p.board.watch(watching) })
	err := p.script(script)
	switch {
	case p.ctx.Err() != nil:
		err = nil // it is what the nodes return
	case ctx.Err() != nil:
		p.screen.say("all", "interrupted: the work ends, sessions and clients close")
		err = nil
	}
	for _, n := range p.nodes {
		n.link.mend() // an end in good order needs the network
	}
	stopTicks()
	if script.Err() == nil && err == nil {
		err = p.finishTasks(script)
	}
	stop()
	return errors.Join(err, p.group.Wait())
}

// start has one more node take part.
func (p *play) start(ctx context.Context) (*node, error) {
	n, err := newNode(ctx, fmt.Sprintf("node-%d", len(p.nodes)+1), p.etcd, p.cfg.ttl, p.screen, p.witness)
	if err != nil {
		return nil, err
	}
	p.nodes = append(p.nodes, n)
	p.board.add(n)
	p.group.Go(func() error { return n.run(p.ctx, p.ticking) })
	return n, nil
}

// finishTasks waits until the queue is empty: no ticks are begun any more.
func (p *play) finishTasks(ctx context.Context) error {
	p.screen.say("all", "time is up: no more ticks; what is in the queue is finished")
	err := poll(ctx, func() (bool, error) {
		stats, err := p.nodes[0].tasks.Stats(ctx)
		running := 0
		for _, n := range p.nodes {
			running += len(n.doing())
		}
		return running == 0 && stats.Waiting+stats.Delayed+stats.Claimed == 0, err
	})
	if ctx.Err() != nil {
		return nil // then it stays there
	}
	return err
}

// poll asks again and again until something is so. An error is no answer, and asked again: etcd may change its leader.
func poll(ctx context.Context, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %v", patience))
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		ok, err := is()
		if ok && err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
