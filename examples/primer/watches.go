package main

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func (t *tour) watchKey(ctx context.Context) error {
	t.text("Whoever watches a key is sent every change from then on, in order. Nobody needs to ask again and again.")
	t.request("Watch(%q)", "door")
	events, err := t.watch(ctx, "door")
	if err != nil {
		return err
	}
	t.result("watching")
	for _, state := range []string{"open", "closed"} {
		if _, err := t.put(ctx, "door", state); err != nil {
			return err
		}
		if _, err := t.see(events, 1); err != nil {
			return err
		}
	}
	if err := t.delete(ctx, "door"); err != nil {
		return err
	}
	_, err = t.see(events, 1)
	return err
}

func (t *tour) watchThePast(ctx context.Context) error {
	t.text("A watch may begin in the past, so that nothing is lost between reading and watching, or while a")
	t.text("connection was down. etcd keeps the past until it is told to compact it away.")
	first, err := t.put(ctx, "lift", "ground floor")
	if err != nil {
		return err
	}
	for _, floor := range []string{"first floor", "second floor"} {
		if _, err := t.put(ctx, "lift", floor); err != nil {
			return err
		}
	}
	t.request("Watch(\"lift\", from revision %d)", first)
	events, err := t.watch(ctx, "lift", clientv3.WithRev(first))
	if err != nil {
		return err
	}
	_, err = t.see(events, 3)
	return err
}
