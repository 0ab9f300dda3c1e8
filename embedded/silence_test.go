package embedded_test

import (
	"context"
	"testing"
	"time"

	"github.com/gotenure/tenure/embedded"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Standard output and error belong to the whole process, so that a process of its own has to show what is printed.
func TestNothingIsPrinted(t *testing.T) {
	output, err := runChild(t, "silence")
	require.NoError(t, err, "%s", output)
	require.Empty(t, output)
}

// useClusterInSilence does what makes etcd and gRPC talk, if they are let.
func useClusterInSilence(ctx context.Context) error {
	cluster, err := embedded.Start(ctx, fast(members(3), func(c *embedded.Config) {
		c.TLS = &embedded.TLS{}
		c.RootPassword = "secret"
	}))
	if err != nil {
		return err
	}
	defer cluster.Close()
	watch := cluster.Client().Watch(ctx, "key")
	for i := range cluster.Size() {
		if err := cluster.Stop(i); err != nil {
			return err
		}
		if _, err := cluster.Client().Put(ctx, "key", "value"); err != nil {
			return err
		}
		<-watch
		if err := cluster.Restart(ctx, i); err != nil {
			return err
		}
	}
	for i := range cluster.Size() {
		if err := cluster.Kill(i); err != nil {
			return err
		}
	}
	// A client that finds nobody, one that speaks plain text to TLS, and one with the wrong password.
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	_, _ = cluster.Client().Get(short, "key")
	if err := cluster.Restart(ctx); err != nil {
		return err
	}
	plain := cluster.ClientConfig()
	plain.TLS = nil
	plain.Endpoints = []string{plain.Endpoints[0][len("https://"):]}
	plain.Username, plain.Password = "", ""
	client, err := clientv3.New(plain)
	if err != nil {
		return err
	}
	short, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	_, _ = client.Get(short, "key")
	_ = client.Close()
	wrong := cluster.ClientConfig()
	wrong.Password = "wrong"
	if client, err := clientv3.New(wrong); err == nil {
		_ = client.Close()
	}
	return cluster.Close()
}
