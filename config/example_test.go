package config_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/config"
)

// Limits is what the examples configure.
type Limits struct {
	MaxConns int
	Timeout  time.Duration
	Level    slog.Level
	Token    config.Secret
}

// Validate makes config refuse what cannot work.
func (l *Limits) Validate() error {
	if l.MaxConns < 1 {
		return errors.New("max_conns: at least one is needed")
	}
	return nil
}

// connect makes a client, as the examples below assume.
func connect() (*clientv3.Client, error) {
	cfg, err := tenure.ClientConfig([]string{"127.0.0.1:2379"})
	if err != nil {
		return nil, err
	}
	return clientv3.New(cfg)
}

func ExampleWatch() {
	ctx := context.Background()
	client, err := connect()
	if err != nil {
		log.Fatal(err)
	}
	limits, err := config.Watch[Limits](ctx, client, "limits",
		config.WithDefaults(Limits{MaxConns: 100, Timeout: time.Second}),
		config.WithEnvironment("LIMITS_"), // LIMITS_MAX_CONNS=5 wins here
		config.WithFallback("/var/lib/billing/limits.fallback", 3*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer limits.Close(ctx)

	limits.OnChange(func(old, now config.Snapshot[Limits]) {
		log.Println("from", old.Revision, "to", now) // secrets are masked
	})
	fmt.Println(limits.Get().MaxConns) // one atomic load
}

func ExampleOnChangeOf() {
	var limits *config.Value[Limits] // from Watch
	var level slog.LevelVar
	level.Set(limits.Get().Level)
	stop := config.OnChangeOf(limits, func(l *Limits) slog.Level { return l.Level }, func(_, now slog.Level) { level.Set(now) })
	defer stop()
}

func ExampleValue_Changes() {
	ctx := context.Background()
	var limits *config.Value[Limits] // from Watch
	for step, err := range limits.Changes(ctx) {
		switch {
		case errors.Is(err, config.ErrRejected):
			log.Println("still in force:", step.New, "because of", err)
		case err != nil:
			return // closed, or ctx ended
		default:
			for _, change := range step.Changes() {
				log.Println(change) // max_conns: 100 -> 200
			}
		}
	}
}

func ExampleValue_Update() {
	ctx := context.Background()
	var limits *config.Value[Limits] // from Watch
	revision, err := limits.Update(ctx, func(l *Limits) error {
		l.MaxConns *= 2 // of a copy; called again if somebody else was faster
		return nil
	})
	switch {
	case errors.Is(err, config.ErrRejected):
		log.Fatal("nothing was written: ", err)
	case err != nil:
		log.Fatal(err)
	}
	if _, err := limits.Wait(ctx, revision); err != nil { // until it has arrived here
		log.Fatal(err)
	}
}

func ExampleValue_Rollback() {
	ctx := context.Background()
	var limits *config.Value[Limits] // from Watch
	history, err := limits.History(ctx, 10)
	if err != nil {
		log.Fatal(err)
	}
	for _, entry := range history {
		fmt.Println(entry.Revision, entry.Author, entry.Time, entry.Changes)
	}
	if len(history) > 1 {
		if _, err := limits.Rollback(ctx, history[1].Revision); err != nil {
			log.Fatal(err)
		}
	}
}

func ExampleAESGCM() {
	key, err := config.KeyFromFile("/etc/billing/config.key") // made by config.NewKey
	if err != nil {
		log.Fatal(err)
	}
	cipher, err := config.AESGCM(key)
	if err != nil {
		log.Fatal(err)
	}
	client, err := connect()
	if err != nil {
		log.Fatal(err)
	}
	limits, err := config.Watch[Limits](context.Background(), client, "limits", config.WithCipher(cipher))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(limits.Get().Token)          // [secret]
	fmt.Println(limits.Get().Token.Reveal()) // what etcd has only encrypted
}
