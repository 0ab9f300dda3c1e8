package session_test

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/session"
)

func ExampleNew() {
	cfg, err := tenure.ClientConfig([]string{"127.0.0.1:2379"})
	if err != nil {
		log.Fatal(err)
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	// The context bounds the creation only; the session lives until Close.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := session.New(ctx, client,
		session.WithTTL(10*time.Second),
		session.WithName("billing-3"),
		session.WithLogger(slog.Default()),
		session.WithObserver(session.Observer{
			Lost: func(l *session.LossError) { log.Println("lost because of", l.Reason) },
		}))
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(context.Background())
}

// A key of one's own that lives as long as the session's current lease, and is
// put again under the next one.
func ExampleSession_Epoch() {
	announce := func(ctx context.Context, s *session.Session) error {
		for {
			epoch, err := s.Epoch(ctx)
			if errors.Is(err, session.ErrClosed) {
				return nil
			}
			if err != nil {
				return err
			}
			if _, err := s.Client().Put(ctx, "members/billing-3", "10.0.0.3:80", clientv3.WithLease(epoch.Lease())); err != nil {
				return err
			}
			select {
			case <-epoch.Context().Done(): // the key goes with the lease
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	_ = announce
}
