package cron_test

import (
	"context"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/leaderworker/cron"
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
	return session.New(ctx, client, session.WithTTL(10*time.Second), session.WithName("billing-3"))
}

func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(context.Background())

	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		log.Fatal(err)
	}
	c, err := cron.New(s, "billing", cron.WithDrain(20*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	err = c.Set(cron.Job{
		Name:     "invoices",
		Schedule: cron.MustParse("30 2 * * *", berlin),
		Missed:   cron.Last, // run it in the morning if nobody was up at night
		Run: func(ctx context.Context, r *cron.Run) error {
			fmt.Println("invoices of", r.Tick().In(berlin).Format(time.DateOnly), "attempt", r.Attempt())
			return ctx.Err()
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

func ExampleParse() {
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		log.Fatal(err)
	}
	// The clocks go from 2:00 to 3:00 on 8 March 2026.
	nightly, err := cron.Parse("30 2 * * *", newYork)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(nightly.Next(time.Date(2026, 3, 8, 0, 0, 0, 0, newYork)).In(newYork))
	// Output: 2026-03-08 03:00:00 -0400 EDT
}

func ExampleRun_Guard() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	job := cron.Job{
		Name:     "count",
		Schedule: cron.MustParse("@hourly", time.UTC),
		Run: func(ctx context.Context, r *cron.Run) error {
			// It commits only while this attempt has the claim.
			resp, err := s.Client().Txn(ctx).
				If(r.Guard()...).
				Then(clientv3.OpPut("/counted/"+r.ID(), "42")).
				Commit()
			if err != nil {
				return err
			}
			r.SetResult(fmt.Sprint("written: ", resp.Succeeded))
			return nil
		},
	}
	c, err := cron.New(s, "statistics")
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Set(job); err != nil {
		log.Fatal(err)
	}
	log.Fatal(c.Run(ctx))
}

func ExampleScheduler_History() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	c, err := cron.New(s, "billing")
	if err != nil {
		log.Fatal(err)
	}
	records, err := c.History(ctx, "invoices")
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range records {
		fmt.Println(r.Tick, r.Outcome, r.Session, r.Duration, r.Error)
	}
}
