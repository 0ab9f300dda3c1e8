package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/gotenure/tenure/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheOthersFinishTheWorkOfTheOneThatDies(t *testing.T) {
	cluster, err := embedded.Start(t.Context(), embedded.Config{NoFsync: true, Tick: 10 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"--ttl", "1s", "--endpoints", strings.Join(cluster.Endpoints(), ",")}, &out))
	text := out.String()
	require.Contains(t, text, "DIES in the middle of chapter 2")
	for _, survivor := range []string{"ann", "ben", "dan"} {
		require.Regexp(t, survivor+` +is told that cho died; chapter 2 again`, text)
	}
	require.Contains(t, text, "has merged chapter 3 for all")
	require.Contains(t, text, "the sum is right")

	// The records of what was decided are all that stays.
	resp, err := cluster.Client().Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	require.NoError(t, err)
	for _, kv := range resp.Kvs {
		require.Regexp(t, "^/tenure/barriers/.*record$|^/tenure/(sessions|fences)/", string(kv.Key))
	}
}

func TestAWrongCommandLineIsAnError(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), []string{"--ttl", "soon"}, &bytes.Buffer{}), "invalid value")
	require.Error(t, run(t.Context(), []string{"--ttl", "1ms"}, &bytes.Buffer{}))
}
