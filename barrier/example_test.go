package barrier_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/barrier"
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
	return session.New(ctx, client, session.WithTTL(10*time.Second), session.WithName("mapper-3"))
}

func ExampleCyclic() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	// Four workers, each a process of its own, compute step by step.
	steps := barrier.NewCyclic(s, "simulation", 4, barrier.WithAction(func(ctx context.Context, step int64) error {
		fmt.Println("one of us writes the checkpoint of step", step)
		return nil
	}))
	for range 100 {
		compute()
		step, err := steps.Await(ctx)
		var broken *barrier.BrokenError
		switch {
		case errors.As(err, &broken):
			log.Fatalf("step %d: worker %s %s", broken.Generation, broken.By.Session, broken.Reason)
		case err != nil:
			log.Fatal(err)
		}
		fmt.Println("all four have done step", step)
	}
}

func ExampleDouble() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	entry, err := barrier.NewDouble(s, "load-test", 20).Enter(ctx) // all 20 begin together
	if err != nil {
		log.Fatal(err)
	}
	shoot(entry.Context()) // ends if the others are told that this one is dead
	if err := entry.Leave(ctx); errors.Is(err, barrier.ErrBroken) {
		log.Println("the figures are worthless:", err) // it names who died
	}
}

func ExampleBarrier() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	// The one that migrates; the hold must not end with this process.
	migration := barrier.New(s, "schema-42")
	if err := migration.Hold(ctx, barrier.Persistent()); err != nil {
		log.Fatal(err)
	}
	migrate()
	if err := migration.Release(ctx); err != nil {
		log.Fatal(err)
	}

	// All others, before they use the schema.
	if err := barrier.New(s, "schema-42").Wait(ctx); err != nil {
		log.Fatal(err)
	}
}

func ExampleLatch() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	imported := barrier.NewLatch(s, "import-2026-11-24")
	if err := imported.Set(ctx, 2); err != nil {
		log.Fatal(err)
	}
	for _, file := range []string{"customers.csv", "orders.csv"} {
		load(file)
		// It can be repeated: each file counts once.
		if err := imported.CountDown(ctx, file); err != nil {
			log.Fatal(err)
		}
	}
	if err := imported.Wait(ctx); err != nil { // here and anywhere else
		log.Fatal(err)
	}
}

func compute()              {}
func shoot(context.Context) {}
func migrate()              {}
func load(string)           {}
