package main

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func (t *tour) transaction(ctx context.Context) error {
	t.text("A transaction compares, and then does one thing or the other, in one step that nobody can get between.")
	if _, err := t.put(ctx, "seat", "free"); err != nil {
		return err
	}
	t.text("Ann and Bob both want the seat. Each takes it if it is free, and otherwise looks who has it.")
	for _, name := range []string{"Ann", "Bob"} {
		if err := t.takeSeat(ctx, name); err != nil {
			return err
		}
	}
	return t.get(ctx, "seat")
}

func (t *tour) takeSeat(ctx context.Context, name string) error {
	t.request("If value of \"seat\" is \"free\", then Put(\"seat\", %q), else Get(\"seat\")", name)
	key := t.key("seat")
	resp, err := t.client.Txn(ctx).
		If(clientv3.Compare(clientv3.Value(key), "=", "free")).
		Then(clientv3.OpPut(key, name)).
		Else(clientv3.OpGet(key)).
		Commit()
	if err != nil {
		return err
	}
	if resp.Succeeded {
		t.result("succeeded: the seat is %s's, revision %d", name, resp.Header.Revision)
		return nil
	}
	holder := resp.Responses[0].GetResponseRange().Kvs[0]
	t.result("failed: the seat is %s's since revision %d", holder.Value, holder.ModRevision)
	return nil
}
