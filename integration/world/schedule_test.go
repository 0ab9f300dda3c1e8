package world_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/integration/world"
)

var threeNodes = []string{"a", "b", "c"}

func TestAScheduleDependsOnItsSeedAlone(t *testing.T) {
	plan := func(seed uint64, nodes ...string) world.Schedule {
		return world.Plan(seed, 10*time.Minute, nodes, world.DefaultRates())
	}
	require.Equal(t, plan(1, "a", "b"), plan(1, "a", "b"))
	require.NotEqual(t, plan(1, "a").Faults, plan(2, "a").Faults)
	require.Equal(t, of("a", plan(1, "a")), of("a", plan(1, "b", "a")), "other nodes do not matter")
}

func TestFaultsOfOneTargetDoNotOverlapAndEndInTime(t *testing.T) {
	const length = 10 * time.Minute
	for seed := range uint64(20) {
		s := world.Plan(seed, length, threeNodes, world.DefaultRates())
		for _, target := range append([]string{""}, threeNodes...) {
			var end time.Duration
			faults := of(target, s)
			require.NotEmpty(t, faults)
			for _, f := range faults {
				require.Greater(t, f.At, end, f)
				end = f.At + f.Hold
				require.LessOrEqual(t, end, length, f)
				require.Equal(t, target == "", f.Kind == world.Crash || f.Kind == world.Compact, f)
				require.Equal(t, f.Kind == world.Slow, f.Delay > 0, f)
			}
		}
	}
}

func TestOnlyFaultsWithAWeightHappen(t *testing.T) {
	rates := world.DefaultRates()
	rates.Weights = map[world.Kind]int{world.Reset: 1}
	s := world.Plan(1, 10*time.Minute, threeNodes, rates)
	require.NotEmpty(t, s.Faults)
	for _, f := range s.Faults {
		require.Equal(t, world.Reset, f.Kind)
		require.NotEmpty(t, f.Node)
	}
}

func TestAScheduleIsPrintedLineByLine(t *testing.T) {
	s := world.Schedule{Seed: 7, Length: time.Minute, Faults: []world.Fault{
		{At: time.Second, Node: "a", Kind: world.Slow, Hold: 2 * time.Second, Delay: time.Millisecond},
		{At: 90 * time.Millisecond, Kind: world.Compact},
	}}
	require.Equal(t, `schedule with seed 7: 2 faults in 1m0s
       1s  a        slow 1ms for 2s
     90ms  server   compact`, s.String())
}

// Whatever happens for four minutes, afterwards everybody is connected and what
// was answered is there.
func TestAllIsWellAfterFourMinutesOfFaults(t *testing.T) {
	for seed := range uint64(3) {
		s := world.Plan(seed, 4*time.Minute, threeNodes, world.DefaultRates())
		world.Run(t, world.Config{Seed: seed}, func(t *testing.T, w *world.World) {
			ctx, stop := context.WithCancel(w.Context())
			last := make([]int64, len(threeNodes)) // revision of each node's last answered put
			for i, name := range threeNodes {
				client := w.Dial(name).Client()
				w.Go(func() {
					for ctx.Err() == nil {
						pctx, cancel := context.WithTimeout(ctx, time.Second)
						if put, err := client.Put(pctx, name, "v"); err == nil {
							last[i] = put.Header.Revision
						}
						cancel()
						pause(ctx, 500*time.Millisecond)
					}
				})
			}
			require.NoError(t, w.Play(ctx, s), s)
			stop()
			require.GreaterOrEqual(t, w.Now(), s.Length)
			for i, name := range threeNodes {
				// A connection that was silenced at the end is found out in 13 s.
				got, err := w.Node(name).Client().Get(within(t, 15*time.Second), name)
				require.NoError(t, err, s)
				require.Len(t, got.Kvs, 1)
				require.GreaterOrEqual(t, got.Kvs[0].ModRevision, last[i])
				require.Greater(t, last[i], int64(100), "many writes went through")
			}
		})
	}
}

func TestAnInterruptedScheduleIsMended(t *testing.T) {
	s := world.Schedule{Length: time.Hour, Faults: []world.Fault{
		{At: time.Second, Node: "a", Kind: world.Cut, Hold: time.Hour},
		{At: time.Second, Node: "nobody", Kind: world.Cut, Hold: time.Hour},
		{At: time.Second, Kind: world.Crash, Hold: time.Hour},
	}}
	world.Run(t, world.Config{}, func(t *testing.T, w *world.World) {
		client := w.Dial("a").Client()
		require.NoError(t, w.Play(within(t, time.Minute), s))
		require.Less(t, w.Now(), 2*time.Minute)
		_, err := client.Get(within(t, 5*time.Second), "k")
		require.NoError(t, err)
	})
}

func of(target string, s world.Schedule) (out []world.Fault) {
	for _, f := range s.Faults {
		if f.Node == target {
			out = append(out, f)
		}
	}
	return out
}
