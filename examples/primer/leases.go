package main

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func (t *tour) leaseExpires(ctx context.Context) error {
	t.text("A lease is a promise to come back in time. Keys that hang on it go when it expires, whoever has crashed.")
	lease, err := t.grant(ctx, t.ttl)
	if err != nil {
		return err
	}
	if _, err := t.put(ctx, "visitor", "just passing", clientv3.WithLease(lease)); err != nil {
		return err
	}
	events, err := t.watch(ctx, "visitor")
	if err != nil {
		return err
	}
	t.request("TimeToLive(the lease, with its keys)")
	left, err := t.client.TimeToLive(ctx, lease, clientv3.WithAttachedKeys())
	if err != nil {
		return err
	}
	t.result("%d s granted, less than that are left; then %s goes", left.GrantedTTL, t.name(left.Keys[0]))
	t.text("Nobody comes back...")
	if _, err := t.see(events, 1); err != nil {
		return err
	}
	return t.get(ctx, "visitor")
}

func (t *tour) leaseRevoked(ctx context.Context) error {
	t.text("Whoever leaves in good order does not let others wait: revoking a lease deletes its keys at once, all at")
	t.text("the same revision.")
	lease, err := t.grant(ctx, time.Minute)
	if err != nil {
		return err
	}
	for _, name := range []string{"guest/hat", "guest/coat"} {
		if _, err := t.put(ctx, name, "on the hook", clientv3.WithLease(lease)); err != nil {
			return err
		}
	}
	events, err := t.watch(ctx, "guest/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	t.request("Revoke(the lease)")
	if _, err := t.client.Revoke(ctx, lease); err != nil {
		return err
	}
	t.result("revoked")
	_, err = t.see(events, 2)
	return err
}

func (t *tour) leaseKeptAlive(ctx context.Context) error {
	t.text("A worker shows that it is online by a key on a lease that it keeps alive. A supervisor watches the key.")
	events, err := t.watch(ctx, "online/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	granted := time.Now()
	lease, err := t.grant(ctx, t.ttl)
	if err != nil {
		return err
	}
	if _, err := t.put(ctx, "online/worker-1", "10.0.0.7", clientv3.WithLease(lease)); err != nil {
		return err
	}
	if _, err := t.see(events, 1); err != nil {
		return err
	}

	t.request("KeepAlive(the lease)")
	alive, stop := context.WithCancel(ctx)
	defer stop()
	answers, err := t.client.KeepAlive(alive, lease)
	if err != nil {
		return err
	}
	for {
		answer, open := <-answers
		if !open {
			return errors.New("the lease was lost")
		}
		if time.Since(granted) > t.ttl {
			t.result("%d s from now on, again and again", answer.TTL)
			break
		}
	}
	t.text("More than %s later the worker is still online.", number(int64(t.ttl.Seconds()), "second"))
	if err := t.get(ctx, "online/worker-1"); err != nil {
		return err
	}

	t.text("Now the worker crashes: nobody keeps its lease alive any more.")
	stop()
	if _, err := t.see(events, 1); err != nil {
		return err
	}
	t.text("worker-1 went offline, and the supervisor knows.")
	return nil
}

// grant is the shown request for a lease.
func (t *tour) grant(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, error) {
	t.request("Grant(%d s)", int64(ttl.Seconds()))
	resp, err := t.client.Grant(ctx, int64(ttl.Seconds()))
	if err != nil {
		return 0, err
	}
	t.leases = append(t.leases, resp.ID)
	t.result("a lease of %d s", resp.TTL)
	return resp.ID, nil
}
