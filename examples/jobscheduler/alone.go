package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/leaderworker"
)

// alone runs one node, which meets others that were started the same way, until ctx ends.
func alone(ctx context.Context, cfg settings, out io.Writer) (err error) {
	text := firstJobs
	if cfg.jobs != "" {
		content, err := os.ReadFile(cfg.jobs)
		if err != nil {
			return err
		}
		text = string(content)
	}
	etcd, err := openStore(ctx, cfg.endpoints)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.close()) }()
	etcd.namespace = root + "shared/"
	if _, err := putJobs(ctx, etcd, text, cfg.jobs != ""); err != nil {
		return err
	}
	scr, w := newScreen(out), newWitness()
	n, err := newNode(ctx, cfg.node, etcd, cfg.ttl, scr, w)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Node %s takes part until Ctrl-C, with all others on %s.\n", n.name, strings.Join(cfg.endpoints, ", "))
	fmt.Fprintf(out, "The jobs are at %sconfig/jobs/live/doc; --jobs FILE replaces them for all nodes.\n\n", etcd.namespace)

	b := &board{client: etcd.client, namespace: etcd.namespace, screen: scr, witness: w, nodes: map[string]*node{n.name: n}}
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	watch.Go(func() { b.watch(watching) })
	watch.Go(func() { b.report(watching) })
	changes := n.jobs.OnChange(func(old, now config.Snapshot[document]) {
		scr.say("all", "the jobs have changed, at revision %d", now.Revision)
	})
	defer changes()
	return n.run(ctx, ctx)
}

// report prints the table whenever the shards or the leader have changed, where it is not on the screen all the time.
func (b *board) report(ctx context.Context) {
	told := ""
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for !b.screen.live {
		if pool, err := b.status(ctx); err == nil {
			if now := summary(pool); now != told {
				told = now
				b.tell(pool)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func summary(pool leaderworker.Pool) string { return fmt.Sprint(pool.Leader, owned(pool)) }
