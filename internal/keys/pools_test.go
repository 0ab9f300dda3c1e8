package keys_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/internal/keys"
)

func TestLayoutOfAPool(t *testing.T) {
	pool, err := keys.Space("/tenure/").Pool("ingest")
	require.NoError(t, err)
	require.Equal(t, "/tenure/pools/ingest/leader", pool.Leader())
	require.Equal(t, "/tenure/pools/ingest/plan", pool.Plan())
	for key, want := range map[string]struct {
		kind keys.Kind
		name string
	}{
		"/tenure/pools/ingest/members/billing-3": {keys.Members, "billing-3"},
		"/tenure/pools/ingest/assigned/a%2Fb":    {keys.Assigned, "a/b"},
		"/tenure/pools/ingest/owners/17":         {keys.Owners, "17"},
	} {
		require.Equal(t, key, pool.Key(want.kind, want.name))
		kind, name, ok := pool.Parse(key)
		require.True(t, ok)
		require.Equal(t, want.kind, kind)
		require.Equal(t, want.name, name)
	}
	for _, key := range []string{
		"/tenure/pools/other/owners/17", "/tenure/pools/ingest/owners/a/b", "/tenure/pools/ingest/owners/",
		"/tenure/pools/ingest/plan", "/tenure/pools/ingest/leader/7f",
	} {
		_, _, ok := pool.Parse(key)
		require.False(t, ok, key)
	}
	_, err = keys.Space("/tenure/").Pool("")
	require.ErrorIs(t, err, keys.ErrEmptyName)
}
