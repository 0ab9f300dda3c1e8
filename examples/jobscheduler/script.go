package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// script is the story. The shares are those of the whole duration: what happens at that time, or later if what was
// before it takes longer.
func (p *play) script(ctx context.Context) error {
	p.screen.begin()
	for range 3 {
		if _, err := p.start(ctx); err != nil {
			return err
		}
	}
	if err := p.await(ctx, "three nodes have started; one of them leads, and each has its part of the shards", p.nodes...); err != nil {
		return err
	}
	for _, step := range []struct {
		share float64
		do    func(context.Context) error
	}{
		{0.2, p.cutTheLeader},
		{0.55, p.changeTheJobs},
		{0.7, p.addANode},
		{1, p.awaitTheNewJob},
	} {
		due := p.screen.start.Add(time.Duration(step.share * float64(p.cfg.duration)))
		if err := pause(ctx, time.Until(due)); err != nil {
			return err
		}
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cutTheLeader takes the network from the node that leads while it works on something, and gives it back later.
func (p *play) cutTheLeader(ctx context.Context) error {
	var off *node
	var others []*node
	err := poll(ctx, func() (bool, error) {
		pool, err := p.board.status(ctx)
		for _, n := range p.nodes {
			if err == nil && n.name == pool.Leader && len(n.doing()) > 0 {
				off = n
				n.link.cut() // before its work is done
			}
		}
		return off != nil, err
	})
	if err != nil {
		return err
	}
	cut := time.Now()
	p.board.cutOff(off.name)
	p.screen.say(off.name, "LEADS, AND IS CUT OFF: nothing gets through, and nothing says so")
	for _, n := range p.nodes {
		if n != off {
			others = append(others, n)
		}
	}
	if err := p.await(ctx, "others have the shards, and another one leads", others...); err != nil {
		return err
	}
	p.screen.say("all", "that took %.1f s: the lease had to run out first", time.Since(cut).Seconds())
	if err := pause(ctx, p.cfg.duration/20); err != nil {
		return err
	}
	off.link.mend()
	p.board.cutOff("")
	p.screen.say(off.name, "IS MENDED: its network works again")
	return p.await(ctx, off.name+" has a part of the shards again", p.nodes...)
}

// changeTheJobs puts another document into etcd and waits until it is in force everywhere.
func (p *play) changeTheJobs(ctx context.Context) error {
	p.screen.say("all", "THE JOBS CHANGE: this document is put into etcd\n\n%s", indent(secondJobs))
	before := time.Now()
	jobs, err := putJobs(ctx, p.etcd, secondJobs, true)
	if err != nil {
		return err
	}
	p.jobs = jobs.Value.Jobs
	p.changed = change{before: before, after: before.Add(patience)} // until it is known
	err = poll(ctx, func() (bool, error) {
		return !slices.ContainsFunc(p.nodes, func(n *node) bool { return n.applied.Load() < jobs.Revision }), nil
	})
	if err == nil {
		p.changed.after = time.Now()
	}
	return err
}

func (p *play) addANode(ctx context.Context) error {
	n, err := p.start(ctx)
	if err != nil {
		return err
	}
	p.screen.say(n.name, "JOINS")
	return p.await(ctx, n.name+" has its part of the shards: no more moved than that", p.nodes...)
}

// awaitTheNewJob makes sure that the story is complete, however short it is.
func (p *play) awaitTheNewJob(ctx context.Context) error {
	for name := range p.jobs {
		if _, old := p.before[name]; old {
			continue
		}
		prefix := p.etcd.namespace + ticksPrefix + name + "/"
		err := poll(ctx, func() (bool, error) {
			resp, err := p.etcd.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
			return err == nil && resp.Count > 0, err
		})
		if err != nil {
			return fmt.Errorf("until job %s was run: %w", name, err)
		}
	}
	p.complete = true
	return nil
}

// await waits until these nodes share the shards, and says so.
func (p *play) await(ctx context.Context, what string, nodes ...*node) error {
	var names []string
	for _, n := range nodes {
		names = append(names, n.name)
	}
	err := poll(ctx, func() (bool, error) {
		pool, err := p.board.status(ctx)
		if err != nil || !sharedBy(pool, names) {
			return false, err
		}
		p.screen.say("all", "%s", what)
		p.board.tell(pool)
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("until %s: %w", what, err)
	}
	return nil
}

func indent(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString("          " + line)
	}
	return out.String()
}
