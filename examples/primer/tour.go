package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	chapterTime = 20 * time.Second // no chapter takes as long, unless etcd does not answer
	cleanUpTime = 5 * time.Second
)

// tour is the guide: it talks to etcd and to the reader.
type tour struct {
	client *clientv3.Client
	out    io.Writer
	prefix string        // before all keys of this tour, so that two tours do not meet
	ttl    time.Duration // of the leases that expire
	leases []clientv3.LeaseID
}

// errLeftBehind is returned by run when it could not delete the keys of the tour.
var errLeftBehind = errors.New("cleaning up after the tour")

func newTour(client *clientv3.Client, out io.Writer, ttl time.Duration) *tour {
	return &tour{client: client, out: out, prefix: "tenure-primer/" + rand.Text() + "/", ttl: ttl}
}

// chapter is one thing to see. It leaves no goroutine, and may leave keys.
type chapter struct {
	title string
	show  func(*tour, context.Context) error
}

var chapters = []chapter{
	{"Put and get", (*tour).putAndGet},
	{"Delete", (*tour).deleteKey},
	{"Read by prefix", (*tour).readPrefix},
	{"Delete by prefix", (*tour).deletePrefix},
	{"Watch a key", (*tour).watchKey},
	{"Watch from a past revision", (*tour).watchThePast},
	{"A transaction", (*tour).transaction},
	{"A key that expires with its lease", (*tour).leaseExpires},
	{"Revoking a lease", (*tour).leaseRevoked},
	{"Keeping a lease alive, and going offline", (*tour).leaseKeptAlive},
}

// run shows all chapters and deletes all keys, whatever happens.
func (t *tour) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, t.cleanUp(ctx)) }()
	t.text("The etcd is at %s.", strings.Join(t.client.Endpoints(), ", "))
	t.text("All keys begin with %s, which is left out below.", t.prefix)
	t.text("Lines with > are requests, lines with < what etcd answers, lines with * events that it sends.")
	for i, c := range chapters {
		fmt.Fprintf(t.out, "\n%d. %s\n\n", i+1, c.title)
		if err := t.runChapter(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(c.title), err)
		}
	}
	fmt.Fprintln(t.out)
	t.text("This is what locks, elections and the rest of Tenure are made of: a key that only one can create (a")
	t.text("transaction), that dies with its owner (a lease), and others who see it go (a watch).")
	return nil
}

func (t *tour) runChapter(ctx context.Context, c chapter) error {
	ctx, cancel := context.WithTimeoutCause(ctx, chapterTime, errors.New("etcd does not answer"))
	defer cancel() // ends the chapter's watches too
	if err := c.show(t, ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return nil
}

// cleanUp deletes the keys and revokes the leases, even if the tour was interrupted.
func (t *tour) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	_, err := t.client.Delete(ctx, t.prefix, clientv3.WithPrefix())
	for _, lease := range t.leases {
		_, e := t.client.Revoke(ctx, lease)
		if !errors.Is(e, rpctypes.ErrLeaseNotFound) { // most have ended already: that was the point
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errLeftBehind, err)
	}
	return nil
}

// key is a key of this tour, name is the way back.
func (t *tour) key(name string) string { return t.prefix + name }

func (t *tour) name(key []byte) string { return strings.TrimPrefix(string(key), t.prefix) }

// number puts a count and a noun together.
func number(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func (t *tour) text(format string, args ...any)    { fmt.Fprintf(t.out, "   "+format+"\n", args...) }
func (t *tour) request(format string, args ...any) { fmt.Fprintf(t.out, "   > "+format+"\n", args...) }
func (t *tour) result(format string, args ...any)  { fmt.Fprintf(t.out, "   < "+format+"\n", args...) }

func (t *tour) event(e *clientv3.Event) {
	if e.Type == clientv3.EventTypeDelete {
		fmt.Fprintf(t.out, "   * DELETE %s at revision %d\n", t.name(e.Kv.Key), e.Kv.ModRevision)
		return
	}
	fmt.Fprintf(t.out, "   * PUT %s = %q at revision %d\n", t.name(e.Kv.Key), e.Kv.Value, e.Kv.ModRevision)
}

// put is the shown request that most chapters begin with.
func (t *tour) put(ctx context.Context, name, value string, opts ...clientv3.OpOption) (revision int64, err error) {
	shown := ""
	if len(opts) > 0 {
		shown = ", with the lease"
	}
	t.request("Put(%q, %q%s)", name, value, shown)
	resp, err := t.client.Put(ctx, t.key(name), value, opts...)
	if err != nil {
		return 0, err
	}
	t.result("revision %d", resp.Header.Revision)
	return resp.Header.Revision, nil
}

// get is the shown request to read one key.
func (t *tour) get(ctx context.Context, name string) error {
	t.request("Get(%q)", name)
	resp, err := t.client.Get(ctx, t.key(name))
	if err != nil {
		return err
	}
	if len(resp.Kvs) == 0 {
		t.result("no such key")
		return nil
	}
	kv := resp.Kvs[0]
	t.result("%s = %q, created at revision %d, last changed at %d, version %d",
		name, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version)
	return nil
}

// watch begins a watch that ends with ctx, and returns once etcd has confirmed it: what happens afterwards is seen.
func (t *tour) watch(ctx context.Context, name string, opts ...clientv3.OpOption) (clientv3.WatchChan, error) {
	events := t.client.Watch(ctx, t.key(name), append(opts, clientv3.WithCreatedNotify())...)
	confirmed, open := <-events
	if !open {
		return nil, errors.New("the watch ended")
	}
	return events, confirmed.Err()
}

// see shows the next n events of a watch.
func (t *tour) see(events clientv3.WatchChan, n int) ([]*clientv3.Event, error) {
	var seen []*clientv3.Event
	for len(seen) < n {
		resp, open := <-events
		if !open {
			return nil, errors.New("the watch ended")
		}
		if err := resp.Err(); err != nil {
			return nil, err
		}
		for _, e := range resp.Events {
			t.event(e)
		}
		seen = append(seen, resp.Events...)
	}
	return seen, nil
}
