package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
)

const nodeCount = 3

// plan says when what happens.
type plan struct {
	cut   time.Duration // from the start until the holder is cut off
	pause time.Duration // from the handover until it is mended
	end   time.Duration // from the start until everything ends
}

// newPlan fits the story into the given duration, or makes it longer if leases of that TTL do not let it fit. The cut
// comes half-way between two ticks, so that no record is under way at that moment.
func newPlan(duration, period, ttl time.Duration) plan {
	p := plan{
		cut:   (duration / 3).Truncate(period) + period/2,
		pause: duration / 6,
	}
	handover := ttl + ttl/2 + time.Second // etcd looks for leases that have run out twice a second
	p.end = max(duration, p.cut+handover+2*p.pause)
	return p
}

// show is the whole program. It returns errCheck if what the nodes left in etcd is not as it should be.
func show(ctx context.Context, cfg config, out io.Writer) (err error) {
	printTitle(out, cfg)
	etcd, err := openStore(ctx, cfg.endpoints)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.close()) }()

	events := make(chan event, 256) // observers of a session must not wait
	nodes, err := newNodes(ctx, etcd, cfg.ttl, events)
	if err != nil {
		return err
	}
	epoch, err := nodes[0].session.Epoch(ctx)
	if err != nil {
		return errors.Join(err, closeAll(ctx, nodes))
	}
	p := newPlan(cfg.duration, cfg.period, epoch.TTL())
	printPlan(out, cfg, p, epoch.TTL())

	j := job{prefix: recordsRoot + rand.Text() + "/", start: time.Now(), period: cfg.period}
	s := &story{out: out, start: j.start}
	played := (&director{plan: p, story: s, events: events}).play(ctx, nodes, j)

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	return errors.Join(played, conclude(ctx, etcd.client, j, nodes, s))
}

// newNodes makes all nodes or none.
func newNodes(ctx context.Context, etcd *store, ttl time.Duration, events chan<- event) ([]*node, error) {
	var nodes []*node
	for i := range nodeCount {
		n, err := newNode(ctx, fmt.Sprintf("node-%d", i+1), etcd.config, ttl, events)
		if err != nil {
			return nil, errors.Join(err, closeAll(ctx, nodes))
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

func closeAll(ctx context.Context, nodes []*node) error {
	var errs []error
	for _, n := range nodes {
		errs = append(errs, n.close(ctx))
	}
	return errors.Join(errs...)
}

// director follows the events and, at the right times, pulls the cable and puts it back.
type director struct {
	plan   plan
	story  *story
	events chan event

	cutDue bool      // it is time to cut the holder off, as soon as there is one
	mend   time.Time // when the cut node is mended, zero until the lock has passed on
	look   *node     // is back and about to queue up
}

// play runs the nodes until the plan's end, or that of ctx, and returns when they have ended.
func (d *director) play(ctx context.Context, nodes []*node, j job) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range nodes {
		group.Go(func() error { return n.run(ctx, j) })
	}
	ended := make(chan error, 1)
	go func() {
		ended <- group.Wait()
		close(d.events) // all sessions are closed, nobody tells anything any more
	}()

	d.direct(ctx)
	stop()
	for _, n := range nodes {
		n.link.mend() // an end in good order needs the network
	}
	for e := range d.events {
		d.story.follow(e)
	}
	return <-ended
}

func (d *director) direct(ctx context.Context) {
	cut := time.After(d.plan.cut)
	end := time.After(d.plan.end)
	beat := time.NewTicker(50 * time.Millisecond)
	defer beat.Stop()
	for {
		select {
		case e := <-d.events:
			d.story.follow(e)
			d.react(e)
		case <-cut:
			d.cutDue = true
		case <-beat.C:
			d.act(ctx)
		case <-end:
			d.story.say("all", "time is up: the work ends, sessions and clients close")
			return
		case <-ctx.Done():
			why := "interrupted"
			if !errors.Is(context.Cause(ctx), context.Canceled) {
				why = "a node has failed"
			}
			d.story.say("all", "%s: the work ends, sessions and clients close", why)
			return
		}
	}
}

// react notes what an event makes necessary.
func (d *director) react(e event) {
	h := &d.story.handover
	switch {
	case e.what == holds && e.node == h.to && d.mend.IsZero():
		d.mend = e.at.Add(d.plan.pause)
	case e.what == leased && e.node == h.from:
		d.look = e.node
	}
}

// act does what is due.
func (d *director) act(ctx context.Context) {
	h := &d.story.handover
	switch {
	case d.cutDue && h.from == nil && d.story.holder != nil:
		d.story.holder.link.cut()
		d.story.cutOff(d.story.holder)
	case h.to != nil && !h.mended && time.Now().After(d.mend):
		h.from.link.mend()
		d.story.mended()
	case d.look != nil:
		d.lookAtQueue(ctx, d.look)
	}
}

// lookAtQueue shows the queue once the node stands in it.
func (d *director) lookAtQueue(ctx context.Context, n *node) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	queue, err := n.mutex.Queue(ctx)
	if err != nil {
		return // the next beat tries again
	}
	for _, entry := range queue {
		if entry.Owner.Session == n.name && entry.Lease == d.story.newLease {
			d.story.queue(queue)
			d.look = nil
			return
		}
	}
}
