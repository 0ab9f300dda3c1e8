package election_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/election"
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

func ExampleElection_Run() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	// The work's context ends before anybody else can lead. When it has returned,
	// the term is given up; after a loss, Run stands again.
	e := election.New(s, "scheduler", election.WithValue([]byte("10.0.0.7:80")))
	err = e.Run(ctx, func(ctx context.Context, t *election.Term) error {
		for {
			select {
			case <-time.After(time.Second):
				fmt.Println("scheduling, in the term", t.Token())
			case <-ctx.Done():
				return nil
			}
		}
	})
	if !errors.Is(err, session.ErrClosed) {
		log.Print(err)
	}
}

func ExampleElection_Campaign() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	term, err := election.New(s, "scheduler").Campaign(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer term.Resign(ctx) // in any case, and after the work

	// The write commits only during the term.
	resp, err := s.Client().Txn(ctx).
		If(term.Guard()...).
		Then(clientv3.OpPut("schedule/next", "4711")).
		Commit()
	if err != nil {
		log.Fatal(err)
	}
	if !resp.Succeeded {
		log.Println("somebody else leads:", context.Cause(term.Context()))
	}
}

func ExampleTerm_Transfer() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	term, err := election.New(s, "scheduler").Campaign(ctx)
	if err != nil {
		log.Fatal(err)
	}
	err = term.Transfer(ctx, "billing-4")
	if errors.Is(err, election.ErrNotStanding) && term.Valid() {
		log.Println("still leading:", err)
	}
}

func ExampleObserver() {
	ctx := context.Background()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:2379"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	// No session is needed to know who leads.
	for ev, err := range election.NewObserver(client, "", "scheduler").Observe(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		switch ev.Kind {
		case election.Elected, election.Changed:
			fmt.Printf("ask %s, with token %d\n", ev.Value, ev.Token)
		case election.Vacant:
			fmt.Println("nobody leads")
		case election.Gap:
			fmt.Println("something went by unseen")
		}
	}
}

func ExampleWithPriority() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	// The machine with the fast disk leads whenever it is there and well, but
	// not before it has been there for a minute.
	e := election.New(s, "scheduler",
		election.WithPriority(election.Priority{Rank: 10, After: time.Minute}),
		election.WithHealth(election.Health{Check: func(context.Context) error { return nil }, Every: 5 * time.Second}))
	list, err := e.Candidates(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range list {
		fmt.Println(c.Name, "on", c.Host, "ranks", c.Rank)
	}
}
