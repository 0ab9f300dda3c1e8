package embedded

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Stop stops member i in good order: if it leads it hands over to another member, so that the cluster goes on at once;
// clients are asked to go on at the other members, watches do so by themselves, and requests under way are answered
// if that is possible within an election timeout. Ports and data are kept for Restart. Stopping a stopped member does
// nothing. Stop fails with ErrClosed, or if there is no member i.
func (c *Cluster) Stop(i int) error {
	if err := c.begin(i); err != nil {
		return fmt.Errorf("embedded: stopping: %w", err)
	}
	defer c.operations.Done()
	m := c.members[i]
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.running.Load(); r != nil {
		c.handOver(r)
		c.whileClosingIdle(func() { r.stop(c.cfg.ElectionTimeout, nil) })
	}
	return nil
}

// Kill is Stop without courtesy: nothing is handed over, so that the others miss a leader for an election timeout, and
// requests under way fail with an unknown outcome. What the member has acknowledged is kept: it is not the machine
// that crashes.
func (c *Cluster) Kill(i int) error {
	if err := c.begin(i); err != nil {
		return fmt.Errorf("embedded: killing: %w", err)
	}
	defer c.operations.Done()
	m := c.members[i]
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.running.Load(); r != nil {
		c.whileClosingIdle(func() { r.stop(0, nil) })
	}
	return nil
}

// Restart starts the given stopped members, all of them if none are given, on their ports and with their data, and
// returns once they serve clients. They need a majority of the cluster for that: members that only make one together
// must be named in one call. If a member does not start, or ctx ends first, those that were started here are stopped
// again. Members that run are left alone. See ErrPortTaken and ErrClosed.
func (c *Cluster) Restart(ctx context.Context, members ...int) error {
	if err := c.restart(ctx, members); err != nil {
		return fmt.Errorf("embedded: restarting: %w", err)
	}
	return nil
}

func (c *Cluster) restart(ctx context.Context, members []int) error {
	if err := c.begin(members...); err != nil {
		return err
	}
	defer c.operations.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.closing, func() { cancel(ErrClosed) })()

	var started []*running
	err := func() error {
		for _, m := range c.choose(members) {
			r, err := c.startStopped(ctx, m)
			if err != nil {
				return err
			}
			if r != nil {
				started = append(started, r)
			}
		}
		for _, r := range started {
			if err := r.waitReady(ctx); err != nil {
				return fmt.Errorf("waiting for %s: %w", memberName(r.member.index), err)
			}
		}
		return nil
	}()
	if err != nil {
		c.stopAll(started)
	}
	return err
}

// startStopped starts m, or returns nil if it runs.
func (c *Cluster) startStopped(ctx context.Context, m *member) (*running, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running.Load() != nil {
		return nil, nil
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if err := m.start(c.etcdConfig(m)); err != nil {
		return nil, err
	}
	return m.running.Load(), nil
}

// choose returns the members with these numbers, or all.
func (c *Cluster) choose(numbers []int) []*member {
	if len(numbers) == 0 {
		return c.members
	}
	members := make([]*member, len(numbers))
	for i, n := range numbers {
		members[i] = c.members[n]
	}
	return members
}

// begin admits an operation on members, unless the cluster is closed; Close waits for those admitted.
func (c *Cluster) begin(members ...int) error {
	for _, i := range members {
		if i < 0 || i >= len(c.members) {
			return fmt.Errorf("no member %d in a cluster of %d", i, len(c.members))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Err() != nil {
		return ErrClosed
	}
	c.operations.Add(1)
	return nil
}

// handOver makes another member the leader if r leads. It is a courtesy and may fail.
func (c *Cluster) handOver(r *running) {
	if !r.leads() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.ElectionTimeout)
	defer cancel()
	for _, heir := range c.running() {
		if heir == r || heir.etcd.Server.Lead() != r.id() {
			continue
		}
		if r.etcd.Server.MoveLeader(ctx, r.id(), heir.id()) == nil {
			return
		}
	}
}

// running returns the members that run.
func (c *Cluster) running() []*running {
	var rs []*running
	for _, m := range c.members {
		if r := m.running.Load(); r != nil {
			rs = append(rs, r)
		}
	}
	return rs
}

// Close stops all members and returns when the last goroutine has ended and, if it was temporary, the folder is gone.
// Clients made by NewClient or from ClientConfig should be closed before; one that is not goes on trying to connect.
// Close may be called again, and then returns the same.
func (c *Cluster) Close() error {
	c.closeOnce.Do(func() {
		c.mu.Lock()
		c.endLife() // nothing begins any more, and a Restart under way gives up
		c.mu.Unlock()
		c.operations.Wait()
		c.down()
		if err := c.leaveFolder(); err != nil {
			c.closeErr = fmt.Errorf("embedded: closing: %w", err)
		}
	})
	return c.closeErr
}

func (c *Cluster) leaveFolder() error {
	if c.cfg.Dir == "" {
		return c.folder.remove()
	}
	return c.folder.close()
}

// down closes the cluster's client and stops all members.
func (c *Cluster) down() {
	if c.client != nil {
		_ = c.client.Close() // only ever reports the cancellation that it is
	}
	c.stopAll(c.running())
}

// stopAll kills members at the same time: one that waits for another would wait for long. No server ends before all
// have got rid of their clients, because a last call may need a majority: etcd's lock service, for one, deletes the key
// of a waiter that gives up, and waits for that.
func (c *Cluster) stopAll(members []*running) {
	var serving, stopped sync.WaitGroup
	serving.Add(len(members))
	c.whileClosingIdle(func() {
		for _, r := range members {
			stopped.Go(func() {
				gone := sync.OnceFunc(serving.Done)
				defer gone() // a member that somebody else has stopped does not say so itself
				r.member.mu.Lock()
				defer r.member.mu.Unlock()
				r.stop(0, func() {
					gone()
					serving.Wait()
				})
			})
		}
		stopped.Wait()
	})
}

// idleInterval is how often whileClosingIdle looks. What was busy a moment ago may be idle now.
const idleInterval = 5 * time.Millisecond

// whileClosingIdle stops members with f, and lets none of them wait for idle connections of another one.
func (c *Cluster) whileClosingIdle(f func()) {
	members := c.running()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		f()
	}()
	ticker := time.NewTicker(idleInterval)
	defer ticker.Stop()
	for done := false; !done; {
		select {
		case <-ticker.C:
		case <-stopped:
			done = true
		}
		for _, r := range members {
			closeIdlePeerConnections(r.etcd.Server)
		}
	}
}
