package lock_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/lock"
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

func ExampleMutex_Do() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	// The work's context ends when the lock is lost, in time for the work to
	// stop before anybody else begins.
	err = lock.NewMutex(s, "nightly-report").Do(ctx, func(ctx context.Context, h *lock.Held) error {
		for day := range 7 {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			fmt.Println("day", day, "as holder", h.Token())
		}
		return nil
	})
	if errors.Is(err, lock.ErrLost) {
		log.Println("somebody else goes on:", err)
	}
}

func ExampleMutex_TryLock() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	held, err := lock.NewMutex(s, "hourly-cleanup").TryLock(ctx)
	switch {
	case errors.Is(err, lock.ErrLocked):
		return // another copy is at it
	case err != nil:
		log.Fatal(err)
	}
	defer held.Unlock(ctx)
	fmt.Println("cleaning up")
}

func ExampleHeld_Guard() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	held, err := lock.NewMutex(s, "orders").Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer held.Unlock(ctx)

	// The write commits only if the lock is still held at that very moment,
	// whatever happened to this process between the lines.
	resp, err := s.Client().Txn(ctx).
		If(held.Guard()...).
		Then(clientv3.OpPut("orders/last", "4711")).
		Commit()
	if err != nil {
		log.Fatal(err)
	}
	if !resp.Succeeded {
		log.Println("the lock has passed on")
	}
}

func ExampleMutex_Queue() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	entries, err := lock.NewMutex(s, "orders").Queue(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for i, e := range entries {
		role := "waits"
		if i == 0 {
			role = "holds"
		}
		fmt.Printf("%s %s since %s (%s, pid %d)\n",
			e.Owner.Session, role, e.Owner.Since.Format(time.TimeOnly), e.Owner.Host, e.Owner.PID)
	}
}

// A reader-writer lock: many read a file while nobody rewrites it.
func ExampleRWMutex() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)
	catalogue := lock.NewRWMutex(s, "catalogue")

	writer, err := catalogue.Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("rewriting, as", writer.Token())
	// Others may read what was written, and nobody rewrites it before this one
	// has read it too.
	reader, err := catalogue.Downgrade(ctx, writer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("reading, as", reader.Token())
	if err := reader.Unlock(ctx); err != nil {
		log.Fatal(err)
	}
}

// A semaphore: at most four of something, among all processes.
func ExampleSemaphore() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	err = lock.NewSemaphore(s, "gpu", 4).Do(ctx, 2, func(ctx context.Context, h *lock.Held) error {
		fmt.Println("two of four are ours, as", h.Token())
		return nil
	})
	switch {
	case errors.Is(err, lock.ErrLimit):
		log.Println("the others think that there are more, or fewer:", err)
	case err != nil:
		log.Println(err)
	}
}

// Several locks at once: all of them, or none.
func ExampleAll() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	accounts := []lock.Lockable{lock.NewMutex(s, "account-7"), lock.NewMutex(s, "account-9")}
	err = lock.DoAll(ctx, accounts, func(ctx context.Context, h *lock.HeldAll) error {
		resp, err := s.Client().Txn(ctx).If(h.Guard()...).Then(
			clientv3.OpPut("balance/7", "90"), clientv3.OpPut("balance/9", "110"),
		).Commit()
		if err == nil && !resp.Succeeded {
			return fmt.Errorf("the accounts are somebody else's by now")
		}
		return err
	})
	if err != nil {
		log.Println(err)
	}
}

// When the rules change, the limit is changed for everybody.
func ExampleSemaphore_SetLimit() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)
	gpus := lock.NewSemaphore(s, "gpu", 4)
	if err := gpus.SetLimit(ctx, 6); err != nil {
		log.Fatal(err)
	}
	now, err := gpus.Limit(ctx)
	fmt.Println(now, err)
}

func ExampleHeld_Txn() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	held, err := lock.NewMutex(s, "orders").Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer held.Unlock(ctx)

	// The order is taken if it is there and nobody else has the lock by now. The
	// response tells of the one, the error of the other.
	resp, err := held.Txn(ctx).
		If(clientv3.Compare(clientv3.Value("orders/4711"), "=", "new")).
		Then(clientv3.OpPut("orders/4711", "taken")).
		Commit()
	switch {
	case errors.Is(err, lock.ErrNotHeld):
		log.Println("somebody else goes on:", err)
	case err != nil:
		log.Fatal(err)
	case !resp.Succeeded:
		log.Println("somebody has taken the order")
	}
}

func ExampleHeld_Requested() {
	ctx := context.Background()
	s, err := open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)

	// A worker that keeps the lock for as long as nobody else wants it.
	err = lock.NewMutex(s, "rebuild-index").Do(ctx, func(ctx context.Context, h *lock.Held) error {
		for part := range 100 {
			select {
			case <-h.Requested():
				return nil // somebody has asked: stop between two parts
			case <-ctx.Done():
				return context.Cause(ctx)
			default:
				fmt.Println("part", part)
			}
		}
		return nil
	})
	if err != nil {
		log.Println(err)
	}
}

func ExampleEntry_ForceRelease() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cfg, err := tenure.ClientConfig([]string{"127.0.0.1:2379"})
	if err != nil {
		log.Fatal(err)
	}
	client, err := clientv3.New(cfg) // an operator has no session
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	entries, err := lock.Queue(ctx, client, "", "rebuild-index")
	if err != nil || len(entries) == 0 {
		return
	}
	// When this returns nil, the holder's context has ended and the lock is free.
	if err := entries[0].ForceRelease(ctx, client, "", "carol, ticket 4711"); err != nil {
		log.Println(err)
	}
}
