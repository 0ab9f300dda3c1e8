package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/integration/world"
)

// A connection that has gone silent looks like a configuration on which nothing
// happens. Only one of them is stale.
func TestAStaleConfigurationIsAnErrorIfAskedForAndAQuietOneIsNot(t *testing.T) {
	const limit = 6 * time.Second
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		ctx := w.Context()
		node := w.Dial("a")
		v, err := config.Watch[map[string]string](ctx, node.Client(), "quiet", config.WithMaxStaleness(limit))
		require.NoError(t, err)
		for range 600 { // ten minutes without a change
			pause(ctx, time.Second)
			_, err := v.Fresh()
			require.NoError(t, err)
			require.LessOrEqual(t, v.Age(), limit)
		}
		node.Cut()
		pause(ctx, limit+time.Second)
		_, err = v.Fresh()
		require.ErrorIs(t, err, config.ErrStale)
		require.Greater(t, v.Snapshot().Age, limit)
		require.NotNil(t, v.Get(), "whoever does not ask still has it")
		node.Mend()
		pause(ctx, 30*time.Second)
		_, err = v.Fresh()
		require.NoError(t, err)
		require.NoError(t, v.Close(ctx))
	})
}
