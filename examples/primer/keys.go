package main

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func (t *tour) putAndGet(ctx context.Context) error {
	t.text("Keys and values are bytes. Every change of anything gives the whole store a new revision, a number that")
	t.text("only grows; each key knows at which one it was created and last changed.")
	if _, err := t.put(ctx, "greeting", "hello"); err != nil {
		return err
	}
	if err := t.get(ctx, "greeting"); err != nil {
		return err
	}
	if _, err := t.put(ctx, "greeting", "good evening"); err != nil {
		return err
	}
	if err := t.get(ctx, "greeting"); err != nil {
		return err
	}
	t.text("A key that is not there is no error.")
	return t.get(ctx, "farewell")
}

func (t *tour) deleteKey(ctx context.Context) error {
	t.text("Delete says how many keys it has deleted. One that is created again has a new creation revision: this is")
	t.text("how a lock tells its owner from the owner before.")
	for range 2 {
		if err := t.delete(ctx, "greeting"); err != nil {
			return err
		}
	}
	if _, err := t.put(ctx, "greeting", "hello again"); err != nil {
		return err
	}
	return t.get(ctx, "greeting")
}

func (t *tour) delete(ctx context.Context, name string) error {
	t.request("Delete(%q)", name)
	resp, err := t.client.Delete(ctx, t.key(name))
	if err != nil {
		return err
	}
	t.result("%d deleted, revision %d", resp.Deleted, resp.Header.Revision)
	return nil
}

func (t *tour) readPrefix(ctx context.Context) error {
	t.text("There are no folders, but keys are sorted, and all that begin alike can be read in one request.")
	for _, name := range []string{"servers/b", "servers/a", "servers/c", "services/a"} {
		if _, err := t.put(ctx, name, "up"); err != nil {
			return err
		}
	}
	return t.list(ctx, "servers/")
}

func (t *tour) deletePrefix(ctx context.Context) error {
	t.text("The same goes for deleting: three keys, one request, one revision.")
	t.request("Delete(\"servers/\", with prefix)")
	resp, err := t.client.Delete(ctx, t.key("servers/"), clientv3.WithPrefix())
	if err != nil {
		return err
	}
	t.result("%d deleted, revision %d", resp.Deleted, resp.Header.Revision)
	if err := t.list(ctx, "servers/"); err != nil {
		return err
	}
	return t.list(ctx, "services/")
}

func (t *tour) list(ctx context.Context, prefix string) error {
	t.request("Get(%q, with prefix)", prefix)
	resp, err := t.client.Get(ctx, t.key(prefix), clientv3.WithPrefix())
	if err != nil {
		return err
	}
	t.result("%s at revision %d", number(resp.Count, "key"), resp.Header.Revision)
	for _, kv := range resp.Kvs {
		t.result("%s = %q", t.name(kv.Key), kv.Value)
	}
	return nil
}
