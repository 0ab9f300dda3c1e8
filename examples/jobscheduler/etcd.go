package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/embedded"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// answerTime is how long a real etcd may take for its first answer.
	answerTime = 5 * time.Second
	// closeTime bounds what has to be tidied up in etcd at the end.
	closeTime = 5 * time.Second
)

// store is the etcd that everything runs on, and a client of it that is never cut off.
type store struct {
	config    clientv3.Config // for the nodes' own clients
	client    *clientv3.Client
	namespace string // before all keys
	close     func() error
}

// openStore connects to the etcd at endpoints or, if there are none, starts one inside this program.
func openStore(ctx context.Context, endpoints []string) (*store, error) {
	if len(endpoints) > 0 {
		return connect(ctx, endpoints)
	}
	// The members' heartbeat is fast, so that the etcd is there at once; nothing has to survive this program.
	cluster, err := embedded.Start(ctx, embedded.Config{NoFsync: true, Tick: 10 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	return &store{config: cluster.ClientConfig(), client: cluster.Client(), close: cluster.Close}, nil
}

// connect asks etcd something: a client connects in the background and would wait for ever.
func connect(ctx context.Context, endpoints []string) (*store, error) {
	cfg, err := tenure.ClientConfig(endpoints)
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, err
	}
	attempt, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if _, err := client.Get(attempt, root, clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, errors.Join(fmt.Errorf("no answer from %s: %w", strings.Join(endpoints, ", "), err), client.Close())
	}
	return &store{config: cfg, client: client, close: client.Close}, nil
}

// clear deletes everything of this run. ctx may have ended, which is no reason to leave anything behind.
func (s *store) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if _, err := s.client.Delete(ctx, s.namespace, clientv3.WithPrefix()); err != nil {
		return fmt.Errorf("delete what was left in etcd: %w", err)
	}
	return nil
}
