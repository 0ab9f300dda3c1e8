package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gotenure/tenure/leaderworker"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A board knows who leads, who has which shards, and what the nodes of this process work on.
type board struct {
	client    *clientv3.Client // one that is never cut off
	namespace string
	screen    *screen
	witness   *witness

	mu    sync.Mutex
	nodes map[string]*node
	off   string // the node that is cut off
}

func (b *board) add(n *node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes[n.name] = n
}

func (b *board) cutOff(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.off = name
}

// status asks etcd how the pool is.
func (b *board) status(ctx context.Context) (leaderworker.Pool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return leaderworker.Status(ctx, b.client, b.namespace, poolName)
}

// watch draws the table on a terminal, until ctx ends.
func (b *board) watch(ctx context.Context) {
	if !b.screen.live {
		return
	}
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	defer b.screen.draw("")
	for {
		if pool, err := b.status(ctx); err == nil {
			b.screen.draw("\n" + b.table(pool))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// tell prints the table once, where it is not on the screen all the time.
func (b *board) tell(pool leaderworker.Pool) {
	if !b.screen.live {
		b.screen.print("\n%s\n", b.table(pool))
	}
}

// table is one line for each node.
func (b *board) table(pool leaderworker.Pool) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	shards := owned(pool)
	names := map[string]bool{}
	for name := range b.nodes {
		names[name] = true
	}
	for _, w := range pool.Workers {
		names[w.Name] = true
	}
	var out strings.Builder
	fmt.Fprintf(&out, "        %-8s %-8s %-16s %6s %6s  %s\n", "NODE", "ROLE", "OWNS SHARDS", "TICKS", "TASKS", "WORKS ON")
	for _, name := range slices.Sorted(maps.Keys(names)) {
		role, now := "", "(another process)"
		ticks, tasks := "-", "-"
		switch name {
		case b.off:
			role = "CUT OFF"
		case pool.Leader:
			role = "leads"
		}
		if n := b.nodes[name]; n != nil {
			now = strings.Join(n.doing(), ", ")
			done := b.witness.of(name)
			ticks, tasks = fmt.Sprint(done["ticks"]), fmt.Sprint(done["tasks"])
		}
		line := fmt.Sprintf("        %-8s %-8s %-16s %6s %6s  %s", name, role, strings.Join(shards[name], " "), ticks, tasks, now)
		fmt.Fprintln(&out, strings.TrimRight(line, " "))
	}
	return out.String()
}

// owned sorts the shards of a pool by their owners; those of nobody are not in it.
func owned(pool leaderworker.Pool) map[string][]string {
	shards := map[string][]string{}
	for _, s := range pool.Shards {
		if s.Owner != "" {
			shards[s.Owner] = append(shards[s.Owner], s.Name)
		}
	}
	return shards
}

// sharedBy tells whether these nodes, and no others, have all shards, evenly, and one of them leads.
func sharedBy(pool leaderworker.Pool, names []string) bool {
	shards := owned(pool)
	total, least, most := 0, shardCount, 0
	for _, of := range shards {
		total, least, most = total+len(of), min(least, len(of)), max(most, len(of))
	}
	return total == shardCount && most-least <= 1 && slices.Contains(names, pool.Leader) &&
		slices.Equal(slices.Sorted(maps.Keys(shards)), names)
}
