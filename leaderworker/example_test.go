package leaderworker_test

import (
	"context"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/leaderworker"
	"github.com/gotenure/tenure/session"
)

// open connects to etcd and opens a session, as the examples below assume.
func open(ctx context.Context) (*session.Session, error) {
	cfg, err := tenure.ClientConfig([]string{"127.0.0.1:2379"})
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, err
	}
	return session.New(ctx, client, session.WithTTL(10*time.Second), session.WithName("ingest-3"))
}

func ExampleRun() {
	// SIGTERM makes the worker leave: its shards are handed over.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(context.Background())

	err = leaderworker.Run(ctx, leaderworker.Config{
		Session: s,
		Name:    "ingest",
		Shards:  leaderworker.Numbered(64),
		Work: func(ctx context.Context, sh leaderworker.Shard) error {
			for ctx.Err() == nil { // until another worker is to have the shard, or it is lost
				fmt.Println("a step of shard", sh.Number(), "as owner", sh.Token())
			}
			return nil // only now can another worker begin
		},
	})
	if err != nil {
		log.Fatal(err)
	}
}

// Shards that come and go, here the topics below a prefix in etcd. The function
// runs in whichever process leads.
func ExampleChanging() {
	topics := func(client *clientv3.Client) leaderworker.Source {
		return leaderworker.Changing(func(ctx context.Context, set func([]leaderworker.ShardSpec) error) error {
			changes := client.Watch(ctx, "topics/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
			for range changes {
				resp, err := client.Get(ctx, "topics/", clientv3.WithPrefix())
				if err != nil {
					return err // called again after a pause
				}
				var shards []leaderworker.ShardSpec
				for _, kv := range resp.Kvs {
					shards = append(shards, leaderworker.ShardSpec{
						Name:    string(kv.Key),
						Require: map[string]string{"zone": string(kv.Value)},
					})
				}
				if err := set(shards); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	_ = topics
}

// A write that commits only while the shard is owned, also while Work is being
// stopped: the shard's own context ends later than the one given to Work.
func ExampleShard_Guard() {
	client := &clientv3.Client{}
	work := func(ctx context.Context, sh leaderworker.Shard) error {
		<-ctx.Done()
		last, cancel := context.WithTimeout(sh.Context(), 2*time.Second)
		defer cancel()
		_, err := client.Txn(last).If(sh.Guard()...).Then(clientv3.OpPut("offsets/"+sh.Name(), "4711")).Commit()
		return err
	}
	_ = work
}

func ExampleStatus() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	pool, err := leaderworker.Status(ctx, s.Client(), "", "ingest")
	if err != nil {
		log.Fatal(err)
	}
	for _, w := range pool.Workers {
		fmt.Printf("%s owns %d of %d, stuck: %v\n", w.Name, w.Owned, w.Assigned, w.Overdue)
	}
	for _, m := range pool.Moves {
		fmt.Printf("%s moves from %s to %s (%s) since %v\n", m.Shard, m.From, m.To, m.Why, m.Since)
	}
}
