package admission

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func reader(create int64) Key     { return Key{Create: create, Mod: create} }
func writer(create int64) Key     { return Key{Create: create, Mod: create, Writer: true} }
func downgraded(create int64) Key { return Key{Create: create, Mod: create + 100, Writer: true} }
func weight(create, n int64) Key  { return Key{Create: create, Mod: create, Weight: n} }
func admitted(create, n int64) Key {
	return Key{Create: create, Mod: create + 100, Weight: n}
}

func TestWhoIsInTheWayOfAReader(t *testing.T) {
	for name, c := range map[string]struct {
		ahead []Key
		want  Step
	}{
		"nobody":                      {nil, Step{Do: Admitted}},
		"readers":                     {[]Key{reader(1), reader(2)}, Step{Do: Admitted}},
		"a writer":                    {[]Key{reader(1), writer(2), reader(3)}, Step{Do: Await, Behind: writer(2), Alone: true}},
		"the last of several writers": {[]Key{writer(4), writer(2)}, Step{Do: Await, Behind: writer(4)}},
		"not a writer that reads":     {[]Key{downgraded(1), reader(2)}, Step{Do: Admitted}},
		"a writer behind one that reads": {[]Key{downgraded(1), writer(2), downgraded(3)},
			Step{Do: Await, Behind: writer(2), Alone: true}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, read(c.ahead)) })
	}
}

func TestWhoIsInTheWayOfAWriter(t *testing.T) {
	for name, c := range map[string]struct {
		ahead []Key
		whole bool
		want  Step
	}{
		"nobody":                   {nil, true, Step{Do: Admitted}},
		"the one ahead":            {[]Key{reader(1)}, true, Step{Do: Await, Behind: reader(1), Alone: true}},
		"the one that can be seen": {[]Key{reader(5)}, false, Step{Do: Await, Behind: reader(5)}},
		"the last of all":          {[]Key{writer(1), reader(3), reader(2)}, true, Step{Do: Await, Behind: reader(3)}},
		"a writer that reads":      {[]Key{downgraded(1)}, true, Step{Do: Await, Behind: downgraded(1), Alone: true}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, write(c.ahead, c.whole)) })
	}
}

func TestWhatIsInTheWayOfARequestForPermits(t *testing.T) {
	for name, c := range map[string]struct {
		limit  Limit
		weight int64
		ahead  []Key
		want   Step
	}{
		"nothing":                         {Limit{N: 1}, 1, nil, Step{Do: Admitted}},
		"room for both":                   {Limit{N: 3}, 1, []Key{weight(1, 2)}, Step{Do: Admitted}},
		"holders":                         {Limit{N: 3}, 2, []Key{weight(1, 2)}, Step{Do: Room}},
		"one that waits itself":           {Limit{N: 3}, 1, []Key{weight(1, 2), weight(2, 2)}, Step{Do: Await, Behind: weight(2, 2)}},
		"the last of several that wait":   {Limit{N: 1}, 1, []Key{weight(1, 1), weight(3, 1), weight(2, 1)}, Step{Do: Await, Behind: weight(3, 1)}},
		"a large request, small as it is": {Limit{N: 4}, 1, []Key{weight(1, 2), weight(2, 4)}, Step{Do: Await, Behind: weight(2, 4)}},
		"holders beyond a lower limit":    {Limit{N: 1, Since: 9}, 1, []Key{weight(1, 1), weight(2, 1)}, Step{Do: Room}},
		"one that said it was admitted":   {Limit{N: 1}, 1, []Key{weight(1, 1), admitted(2, 1)}, Step{Do: Room}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, permits(c.limit, c.weight, c.ahead)) })
	}
}

// Whatever comes and goes, those that were admitted never hold more than the
// limit, nobody is admitted before one that came earlier, and somebody always
// is if anything is free.
func TestAdmissionNeverExceedsTheLimit(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		limit := Limit{N: 1 + rnd.Int64N(6)}
		var queue []Key
		holds := map[int64]bool{}
		for rev := int64(1); rev < 200; rev++ {
			switch {
			case rnd.IntN(2) == 0:
				queue = append(queue, weight(rev, 1+rnd.Int64N(limit.N)))
			case len(queue) > 0: // a holder releases, or a waiter gives up
				i := rnd.IntN(len(queue))
				delete(holds, queue[i].Create)
				queue = slices.Delete(queue, i, i+1)
			}
			// Each looks when it likes.
			for _, i := range rnd.Perm(len(queue)) {
				if rnd.IntN(3) > 0 && permits(limit, queue[i].Weight, queue[:i]).Do == Admitted {
					holds[queue[i].Create] = true
				}
			}
			var held, ahead int64
			for i, k := range queue {
				if holds[k.Create] {
					held += k.Weight
				}
				step := permits(limit, k.Weight, queue[:i])
				require.Equal(t, ahead+k.Weight <= limit.N, step.Do == Admitted)
				require.False(t, holds[k.Create] && step.Do != Admitted, "an admission does not last")
				ahead += k.Weight
			}
			require.LessOrEqual(t, held, limit.N, "seed %d", seed)
			if len(queue) > 0 {
				require.Equal(t, Admitted, permits(limit, queue[0].Weight, nil).Do)
			}
		}
	}
}
