package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/leaderworker/queue"
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
	return session.New(ctx, client, session.WithTTL(10*time.Second), session.WithName("mailer-3"))
}

func ExampleQueue_Enqueue() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	q, err := queue.New(s, "mails")
	if err != nil {
		log.Fatal(err)
	}
	id, err := q.Enqueue(ctx, []byte(`{"to":"a@example.org"}`), queue.Dedupe("order-4711"), queue.Delay(time.Minute))
	switch {
	case errors.Is(err, queue.ErrDuplicate):
		fmt.Println("it is on its way already:", id)
	case errors.Is(err, queue.ErrFull):
		fmt.Println("try again later")
	case err != nil:
		log.Fatal(err)
	}
}

func ExampleQueue_Consume() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(context.Background())
	q, err := queue.New(s, "mails", queue.WithTries(8))
	if err != nil {
		log.Fatal(err)
	}
	err = q.Consume(ctx, func(ctx context.Context, t *queue.Task) error {
		if len(t.Payload()) == 0 {
			return queue.Permanent(errors.New("an empty mail"))
		}
		fmt.Printf("sending %s, try %d\n", t.Payload(), t.Try())
		return ctx.Err()
	}, queue.Workers(8), queue.Prefetch(8), queue.Drain(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleTask_Guard() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	q, err := queue.New(s, "orders")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(q.Consume(ctx, func(ctx context.Context, t *queue.Task) error {
		// It commits only while this process has the task, and the id makes a
		// second try write the same again.
		_, err := s.Client().Txn(ctx).
			If(t.Guard()...).
			Then(clientv3.OpPut("/orders/"+t.ID(), string(t.Payload()))).
			Commit()
		return err
	}))
}

func ExampleQueue_Replay() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	q, err := queue.New(s, "mails")
	if err != nil {
		log.Fatal(err)
	}
	dead, err := q.DeadLetters(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, letter := range dead {
		fmt.Println(letter.ID, letter.Tries, letter.Error)
		if err := q.Replay(ctx, letter.ID); err != nil {
			log.Fatal(err)
		}
	}
}
