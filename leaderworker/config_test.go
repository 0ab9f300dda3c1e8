package leaderworker

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/session"
)

func TestAConfigurationThatCannotWorkIsRefusedAtOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Config)
		says  string
	}{
		{"no session", func(c *Config) { c.Session = nil }, "session"},
		{"no name", func(c *Config) { c.Name = "" }, "name"},
		{"a long name", func(c *Config) { c.Name = strings.Repeat("x", MaxPoolName+1) }, "name"},
		{"no work", func(c *Config) { c.Work = nil }, "Work"},
		{"no shards", func(c *Config) { c.Shards = Source{} }, "Shards"},
		{"a number of shards that is none", func(c *Config) { c.Shards = Numbered(0) }, "0 shards"},
		{"too many shards", func(c *Config) { c.Shards = Numbered(MaxShards + 1) }, "100001 shards"},
		{"a shard without a name", func(c *Config) { c.Shards = Listed(ShardSpec{}) }, "name"},
		{"a shard whose name is no text", func(c *Config) { c.Shards = Listed(ShardSpec{Name: "\xff"}) }, "UTF-8"},
		{"two shards of one name", func(c *Config) { c.Shards = Listed(ShardSpec{Name: "a"}, ShardSpec{Name: "a"}) }, "two shards"},
		{"a negative weight", func(c *Config) { c.Shards = Listed(ShardSpec{Name: "a", Weight: -1}) }, "weight"},
		{"a source without a function", func(c *Config) { c.Shards = Changing(nil) }, "nil"},
		{"a worker's name that is no text", func(c *Config) { c.Worker = "\xff" }, "worker's name"},
		{"a negative share", func(c *Config) { c.Share = -1 }, "share"},
		{"a negative capacity", func(c *Config) { c.Capacity = -1 }, "capacity"},
		{"a negative drain", func(c *Config) { c.Drain = -time.Second }, "drain"},
		{"a grace of years", func(c *Config) { c.Grace = 48 * time.Hour }, "grace"},
		{"negative moves", func(c *Config) { c.MaxMoves = -1 }, "moves"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Config{
				Session: new(session.Session), Name: "p", Shards: Numbered(3),
				Work: func(context.Context, Shard) error { return nil },
			}
			_, _, err := cfg.check()
			require.NoError(t, err)
			c.spoil(&cfg)
			err = Run(t.Context(), cfg)
			require.ErrorIs(t, err, ErrConfig)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestDefaults(t *testing.T) {
	cfg := Config{Session: new(session.Session), Name: "p", Shards: Numbered(1), Work: func(context.Context, Shard) error { return nil }}
	first, _, err := cfg.check()
	require.NoError(t, err)
	require.Equal(t, DefaultGrace, first.Grace)
	require.Equal(t, DefaultDrain, first.Drain)
	require.Equal(t, DefaultMaxMoves, first.MaxMoves)
	second, _, err := cfg.check()
	require.NoError(t, err)
	require.NotEqual(t, first.Worker, second.Worker, "two workers of one session are told apart")
	cfg.Grace = -1
	none, _, err := cfg.check()
	require.NoError(t, err)
	require.Zero(t, none.Grace)
}

func TestTheNumberOfAShard(t *testing.T) {
	for name, want := range map[string]int{"0": 0, "17": 17, "017": -1, "-1": -1, "a": -1, "": -1, "99999999999999999999": -1} {
		require.Equal(t, want, Shard{name: name}.Number(), name)
	}
}

func TestALineHandsOverWhatCameInOrder(t *testing.T) {
	l := newLine[int]()
	l.put()
	require.Empty(t, l.ready)
	for i := range 5 {
		l.put(i)
	}
	<-l.ready
	require.Equal(t, []int{0, 1}, l.take(2))
	<-l.ready // there is more
	l.put(5)
	<-l.ready
	require.Equal(t, []int{2, 3, 4, 5}, l.take(0))
	require.Empty(t, l.ready)
	require.Empty(t, l.take(0))
}
