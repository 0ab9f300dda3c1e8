package balance

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func workers(names ...string) []Worker {
	var out []Worker
	for _, name := range names {
		out = append(out, Worker{Name: name})
	}
	return out
}

func numbered(n int) []Shard {
	out := make([]Shard, n)
	for i := range out {
		out[i] = Shard{Name: fmt.Sprint(i)}
	}
	return out
}

func crew(n int) []Worker {
	out := make([]Worker, n)
	for i := range out {
		out[i] = Worker{Name: fmt.Sprintf("w%03d", i)}
	}
	return out
}

// settle puts the shards where Assign says, and tells how many of those that
// were settled somewhere have moved.
func settle(ws []Worker, shards []Shard) (moved int) {
	for i, w := range Assign(ws, shards) {
		at := ""
		if w >= 0 {
			at = ws[w].Name
		}
		if shards[i].At != "" && shards[i].At != at {
			moved++
		}
		shards[i].At, shards[i].Settled = at, w >= 0
	}
	return moved
}

func loads(ws []Worker, shards []Shard) []int {
	at := map[string]int{}
	for _, s := range shards {
		at[s.At] += max(s.Weight, 1)
	}
	out := make([]int, len(ws))
	for i, w := range ws {
		out[i] = at[w.Name]
	}
	return out
}

func spread(loads []int) int {
	low, high := loads[0], loads[0]
	for _, l := range loads {
		low, high = min(low, l), max(high, l)
	}
	return high - low
}

func TestSharesAreEven(t *testing.T) {
	for _, c := range []struct {
		name    string
		workers []Worker
		shards  int
		want    []int
	}{
		{"one has all", workers("a"), 7, []int{7}},
		{"three have as much as each other", workers("a", "b", "c"), 7, []int{3, 2, 2}},
		{"fewer shards than workers", workers("a", "b", "c"), 2, []int{1, 1, 0}},
		{"no shards", workers("a", "b"), 0, []int{0, 0}},
		{"twice the share has twice as much", []Worker{{Name: "a", Share: 2}, {Name: "b"}}, 9, []int{6, 3}},
		{"a capacity is kept, and the others have what is left",
			[]Worker{{Name: "a", Capacity: 1}, {Name: "b"}, {Name: "c"}}, 9, []int{1, 4, 4}},
		{"capacities that do not suffice leave the rest nowhere",
			[]Worker{{Name: "a", Capacity: 1}, {Name: "b", Capacity: 2}}, 9, []int{1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			shards := numbered(c.shards)
			settle(c.workers, shards)
			require.Equal(t, c.want, loads(c.workers, shards))
		})
	}
}

func TestShardsGoOnlyWhereTheirLabelsAre(t *testing.T) {
	ws := []Worker{{Name: "a", Labels: map[string]string{"zone": "eu", "disk": "ssd"}},
		{Name: "b", Labels: map[string]string{"zone": "eu"}}, {Name: "c", Labels: map[string]string{"zone": "us"}}}
	eu, ssd := map[string]string{"zone": "eu"}, map[string]string{"zone": "eu", "disk": "ssd"}
	shards := []Shard{{Name: "1", Require: ssd}, {Name: "2", Require: ssd}, {Name: "3", Require: eu}, {Name: "4", Require: eu},
		{Name: "5"}, {Name: "6"}, {Name: "7", Require: map[string]string{"zone": "mars"}}}
	got := Assign(ws, shards)
	require.Equal(t, []int{0, 0, 1, 1, 2, 2, Unfit}, got)

	// Labels that are no longer there send the shard away.
	shards[0].At, shards[2].At = "c", "c"
	got = Assign(ws, shards)
	require.Equal(t, 0, got[0])
	require.NotEqual(t, 2, got[2])
}

// Shard 3 fits both, but is where 1 and 2 must be: it makes room for them by a
// chain over b, because c is where there is room.
func TestAChainOfMovesEvensWhatNoSingleMoveCan(t *testing.T) {
	on := func(at string, fits ...string) Shard {
		return Shard{At: at, Settled: true, Require: map[string]string{fits[0] + fits[1]: "y"}}
	}
	ws := []Worker{{Name: "a", Labels: map[string]string{"ab": "y"}}, {Name: "b", Labels: map[string]string{"ab": "y", "bc": "y"}},
		{Name: "c", Labels: map[string]string{"bc": "y"}}}
	shards := []Shard{on("a", "a", "b"), on("a", "a", "b"), on("a", "a", "b"), on("b", "b", "c"), on("b", "b", "c")}
	for i := range shards {
		shards[i].Name = fmt.Sprint(i)
	}
	require.Equal(t, 2, settle(ws, shards))
	require.Equal(t, []int{2, 2, 1}, loads(ws, shards))
}

func TestAFullWorkerMakesRoomForAShardThatFitsNowhereElse(t *testing.T) {
	ws := []Worker{{Name: "a", Capacity: 1, Labels: map[string]string{"disk": "ssd"}}, {Name: "b"}}
	shards := []Shard{{Name: "1", At: "a", Settled: true}, {Name: "2", Require: map[string]string{"disk": "ssd"}}}
	require.Equal(t, []int{1, 0}, Assign(ws, shards))

	shards = append(shards, Shard{Name: "3", Require: map[string]string{"disk": "ssd"}})
	require.Equal(t, []int{1, 0, NoRoom}, Assign(ws, shards))
}

func TestAFrozenWorkerKeepsItsShardsAndGetsNone(t *testing.T) {
	ws := workers("a", "b", "c")
	shards := numbered(9)
	settle(ws, shards)
	ws[1].Frozen = true
	require.Zero(t, settle(ws, shards), "its absence moves nothing")

	more := append(shards, numbered(6)...)
	for i := range more {
		more[i].Name = fmt.Sprint(i)
	}
	require.Zero(t, settle(ws, more))
	require.Equal(t, []int{6, 3, 6}, loads(ws, more))
}

func TestShardsThatAreOnTheirWayMoveFirst(t *testing.T) {
	ws := workers("a", "b")
	shards := numbered(4)
	for i := range shards {
		shards[i].At, shards[i].Settled = "a", i%2 == 0
	}
	require.Equal(t, []int{0, 1, 0, 1}, Assign(ws, shards))
}

func TestWithoutWorkersEverythingIsNowhere(t *testing.T) {
	require.Equal(t, []int{Unfit, Unfit}, Assign(nil, numbered(2)))
}

// What users are promised: one of N workers that goes or comes moves no more
// than its part, and nothing moves without a reason.
func TestOneWorkerMoreOrLessMovesNoMoreThanItsPart(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n, m := 1+rnd.IntN(30), rnd.IntN(400)
		ws, shards := crew(n), numbered(m)
		settle(ws, shards)
		for range 12 {
			n := len(ws)
			part := (m + n - 1) / n
			if n > 1 && rnd.IntN(2) == 0 {
				gone := rnd.IntN(n)
				ws = append(ws[:gone:gone], ws[gone+1:]...)
			} else {
				ws = append(ws, Worker{Name: fmt.Sprintf("new-%d", rnd.Int())})
			}
			require.LessOrEqual(t, settle(ws, shards), part, "%d shards, %d workers before", m, n)
			require.LessOrEqual(t, spread(loads(ws, shards)), 1)
			require.Zero(t, settle(ws, shards), "nothing has changed")
		}
	}
}

// Whatever the shares, nobody is further than one shard from its share.
func TestUnequalSharesAreKeptToWithinOne(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		ws, shards := crew(1+rnd.IntN(20)), numbered(rnd.IntN(300))
		shares := 0
		for i := range ws {
			ws[i].Share = 1 + rnd.IntN(1+rnd.IntN(100))
			shares += ws[i].Share
		}
		for i := range shards { // from anywhere
			if rnd.IntN(3) > 0 {
				shards[i].At = ws[rnd.IntN(len(ws))].Name
			}
		}
		settle(ws, shards)
		for i, load := range loads(ws, shards) {
			require.InDelta(t, float64(len(shards)*ws[i].Share)/float64(shares), load, 1+1e-6)
		}
		require.Zero(t, settle(ws, shards))
	}
}

// A random world with everything in it: nothing breaks, what can be placed is,
// capacities and labels hold, no single step would make it more even, and a
// second look changes nothing.
func TestAnyWorldIsEvenAsFarAsItCanBe(t *testing.T) {
	for seed := range uint64(400) {
		checkWorld(t, seed)
	}
}

func FuzzAnyWorldIsEvenAsFarAsItCanBe(f *testing.F) {
	f.Add(uint64(7))
	f.Fuzz(func(t *testing.T, seed uint64) { checkWorld(t, seed) })
}

func checkWorld(t *testing.T, seed uint64) {
	ws, shards := randomWorld(rand.New(rand.NewPCG(seed, 0)))
	before := Assign(ws, shards)
	require.Equal(t, before, Assign(ws, shards), "seed %d: the same again", seed)
	settle(ws, shards)
	l := loads(ws, shards)
	var b *board
	if len(ws) > 0 {
		b = newBoard(ws, shards)
	}
	for i, s := range shards {
		w := before[i]
		if w < 0 {
			for j, worker := range ws {
				if Fits(worker.Labels, s.Require) {
					require.NotEqual(t, Unfit, w, "seed %d: shard %s fits %s", seed, s.Name, worker.Name)
					free := worker.Capacity == 0 || l[j]+max(s.Weight, 1) <= worker.Capacity
					require.False(t, free && !worker.Frozen, "seed %d: there is room for %s on %s", seed, s.Name, worker.Name)
				}
			}
			continue
		}
		require.True(t, Fits(ws[w].Labels, s.Require), "seed %d", seed)
		for j, other := range ws {
			weight := max(s.Weight, 1)
			if j == w || other.Frozen || ws[w].Frozen || !Fits(other.Labels, s.Require) ||
				other.Capacity > 0 && l[j]+weight > other.Capacity {
				continue
			}
			require.LessOrEqual(t, b.seats[w].deviation()-b.seats[j].deviation(), float64(weight)+1e-3,
				"seed %d: moving %s from %s to %s would help", seed, s.Name, ws[w].Name, other.Name)
		}
	}
	for j, w := range ws {
		require.False(t, w.Capacity > 0 && !w.Frozen && l[j] > w.Capacity, "seed %d: %s has too much", seed, w.Name)
	}
	require.Zero(t, settle(ws, shards), "seed %d: it changed its mind", seed)
}

func randomWorld(rnd *rand.Rand) ([]Worker, []Shard) {
	ws, shards := crew(rnd.IntN(9)), numbered(rnd.IntN(60))
	zones := []string{"eu", "us", "asia"}
	for i := range ws {
		ws[i].Share = rnd.IntN(4)
		ws[i].Labels = map[string]string{"zone": zones[rnd.IntN(len(zones))], "disk": []string{"ssd", "hdd"}[rnd.IntN(2)]}
		if rnd.IntN(3) == 0 {
			ws[i].Capacity = 1 + rnd.IntN(20)
		}
		ws[i].Frozen = rnd.IntN(6) == 0
	}
	weights := 1 + rnd.IntN(5)
	for i := range shards {
		shards[i].Weight = rnd.IntN(weights + 1)
		if rnd.IntN(2) == 0 {
			shards[i].Require = map[string]string{"zone": zones[rnd.IntN(len(zones))]}
		}
		if rnd.IntN(4) == 0 {
			shards[i].Require = map[string]string{"disk": "ssd"}
		}
		if len(ws) > 0 && rnd.IntN(3) > 0 {
			shards[i].At, shards[i].Settled = ws[rnd.IntN(len(ws))].Name, rnd.IntN(2) == 0
		}
	}
	return ws, shards
}

// A death among fifty workers, with ten thousand shards: well under 50 ms.
func BenchmarkOneOfFiftyWorkersGoes(b *testing.B) {
	for _, c := range []struct {
		name   string
		weight func(i int) int
	}{
		{"equal weights", func(int) int { return 1 }},
		{"every weight different", func(i int) int { return 1 + i }},
	} {
		b.Run(c.name, func(b *testing.B) {
			ws, shards := crew(50), numbered(10_000)
			for i := range shards {
				shards[i].Weight = c.weight(i)
			}
			settle(ws, shards)
			for b.Loop() {
				Assign(ws[1:], shards)
			}
		})
	}
}

func BenchmarkTheFirstOfTwoHundredWorkersHasAll(b *testing.B) {
	ws, shards := crew(200), numbered(10_000)
	settle(ws[:1], shards)
	for b.Loop() {
		Assign(ws, shards)
	}
}
