package leaderworker

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
)

const testPool = keys.Pool("/tenure/pools/p/")

// A theatre plays etcd and the workers around a planner.
type theatre struct {
	t       *testing.T
	view    *view
	planner *planner
	set     []ShardSpec
	now     time.Time
	last    decision
}

func newTheatre(t *testing.T, maxMoves int, shards ...ShardSpec) *theatre {
	set, err := checked(shards)
	require.NoError(t, err)
	return &theatre{
		t: t, view: newView(testPool), planner: newPlanner(maxMoves, 10*time.Second),
		set: set, now: time.Unix(1_700_000_000, 0),
	}
}

func specs(n int) []ShardSpec {
	set := make([]ShardSpec, n)
	for i := range set {
		set[i].Name = fmt.Sprint(i)
	}
	return set
}

func (th *theatre) put(key string, record any) {
	th.view.apply(&clientv3.Event{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{
		Key: []byte(key), Value: []byte(encode(record)),
		CreateRevision: th.view.revision + 1, ModRevision: th.view.revision + 1,
	}})
}

func (th *theatre) delete(key string) {
	th.view.apply(&clientv3.Event{Type: clientv3.EventTypeDelete,
		Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: th.view.revision + 1}})
}

func (th *theatre) join(worker string, change ...func(*memberRecord)) {
	r := memberRecord{Share: 1}
	for _, f := range change {
		f(&r)
	}
	th.put(testPool.Key(keys.Members, worker), r)
}

// crash takes a worker away with everything that hangs on its lease.
func (th *theatre) crash(worker string) {
	th.delete(testPool.Key(keys.Members, worker))
	for shard, o := range th.view.owners {
		if o.Worker == worker {
			th.delete(testPool.Key(keys.Owners, shard))
		}
	}
}

// act lets the leader decide, and etcd apply it.
func (th *theatre) act() decision {
	th.t.Helper()
	th.last = th.planner.decide(th.view, th.set, th.now)
	for _, c := range th.last.changes {
		key := testPool.Key(keys.Assigned, c.worker)
		require.Equal(th.t, th.view.assigned[c.worker].mod, c.mod)
		if len(c.Shards) == 0 {
			th.delete(key)
			continue
		}
		th.put(key, c.assignedRecord)
	}
	return th.last
}

// follow lets the workers own what they are assigned, except for shards that
// drain, and returns how many changed hands.
func (th *theatre) follow(draining ...string) (moved int) {
	for worker, a := range th.view.assigned {
		if _, member := th.view.members[worker]; !member {
			continue
		}
		for _, shard := range a.Shards {
			if o := th.view.owners[shard]; o.Worker != worker && !slices.Contains(draining, shard) {
				if o.Worker != "" {
					moved++
				}
				th.put(testPool.Key(keys.Owners, shard), ownerRecord{Worker: worker})
			}
		}
	}
	return moved
}

// settle goes on until there is nothing more to do, and returns how many shards
// changed hands.
func (th *theatre) settle() (moved int) {
	th.t.Helper()
	for range 1000 {
		d := th.act()
		if !d.wake.IsZero() {
			th.now = d.wake
			continue
		}
		before := th.view.revision
		moved += th.follow()
		if len(d.changes) == 0 && th.view.revision == before {
			return moved
		}
	}
	require.FailNow(th.t, "it does not settle")
	return 0
}

// assigned is the assignment as a line.
func (th *theatre) assigned() string {
	var parts []string
	for _, worker := range slices.Sorted(maps.Keys(th.view.assigned)) {
		parts = append(parts, worker+": "+strings.Join(th.view.assigned[worker].Shards, " "))
	}
	return strings.Join(parts, ", ")
}

func (th *theatre) why(worker string) string {
	var parts []string
	for _, m := range th.view.assigned[worker].Moves {
		part := strings.Join(m.Shards, " ") + " " + string(m.Why)
		if m.From != "" {
			part += " from " + m.From
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

func TestWorkersThatStartTogetherShareFromTheBeginning(t *testing.T) {
	th := newTheatre(t, 100, specs(4)...)
	th.join("a")
	d := th.act()
	require.Empty(t, d.changes)
	require.Equal(t, th.now.Add(gather), d.wake)
	th.join("b")
	th.now = th.now.Add(gather / 2)
	require.Equal(t, d.wake, th.act().wake, "the wait does not begin anew")
	th.now = d.wake
	th.act()
	require.Equal(t, "a: 0 2, b: 1 3", th.assigned())
	require.Equal(t, "0 2 new", th.why("a"))
}

func TestALeaderThatTakesOverMovesNothing(t *testing.T) {
	th := newTheatre(t, 100, specs(7)...)
	th.join("a")
	th.join("b")
	th.settle()
	th.join("c")
	th.settle()
	before := th.assigned()
	th.planner = newPlanner(100, 10*time.Second)
	d := th.act()
	require.Empty(t, d.changes)
	require.Zero(t, d.wake)
	require.Equal(t, before, th.assigned())

	// Nor if the assignment is gone: the owners tell.
	for worker := range th.view.assigned {
		th.delete(testPool.Key(keys.Assigned, worker))
	}
	th.planner = newPlanner(100, 10*time.Second)
	require.Zero(t, th.settle())
	require.Equal(t, before, th.assigned())
}

func TestAWorkerThatComesBackWithinTheGraceGetsItsShardsBack(t *testing.T) {
	th := newTheatre(t, 100, specs(6)...)
	for _, worker := range []string{"a", "b", "c"} {
		th.join(worker)
	}
	th.settle()
	before := th.assigned()
	th.crash("b")
	d := th.act()
	require.Empty(t, d.changes)
	require.Equal(t, th.now.Add(10*time.Second), d.wake)
	th.now = d.wake.Add(-time.Millisecond)
	th.join("b")
	require.Zero(t, th.settle())
	require.Equal(t, before, th.assigned())
}

func TestAWorkerThatStaysAwayLosesItsShardsAndOnlyThese(t *testing.T) {
	th := newTheatre(t, 100, specs(6)...)
	for _, worker := range []string{"a", "b", "c"} {
		th.join(worker)
	}
	th.settle()
	th.crash("b")
	th.now = th.act().wake
	th.act()
	require.Equal(t, "a: 0 1 3, c: 2 4 5", th.assigned())
	require.Equal(t, "1 lost from b", th.why("a"))
	require.Zero(t, th.follow(), "nobody had them")
}

// It is told apart from one that is only gone, by a leader that is new too.
func TestAWorkerThatLeavesIsNotWaitedFor(t *testing.T) {
	th := newTheatre(t, 1, specs(6)...)
	for _, worker := range []string{"a", "b", "c"} {
		th.join(worker)
	}
	th.settle()
	th.planner = newPlanner(1, 10*time.Second)
	th.join("b", func(r *memberRecord) { r.Leaving = true })
	d := th.act()
	require.Zero(t, d.wake)
	require.Equal(t, "a: 0 1 3, c: 2 4 5", th.assigned(), "whatever the bound on moves")
	require.Equal(t, "1 left from b", th.why("a"))
	require.Equal(t, 2, th.follow())
}

func TestNoMoreShardsThanAllowedAreBetweenTwoWorkers(t *testing.T) {
	th := newTheatre(t, 2, specs(12)...)
	th.join("a")
	th.settle()
	th.join("b")
	th.now = th.act().wake
	require.Equal(t, 2, th.act().moves)
	require.Len(t, th.view.assigned["b"].Shards, 2)
	require.Zero(t, th.act().moves, "they are still on their way")

	first, second := th.view.assigned["b"].Shards[0], th.view.assigned["b"].Shards[1]
	th.follow(second)
	require.Equal(t, 1, th.act().moves, "one has arrived")
	require.Len(t, th.view.assigned["b"].Shards, 3)
	require.NotContains(t, th.why("b"), first, "what has arrived is forgotten")
	require.Contains(t, th.why("b"), second)
	th.settle()
	require.Equal(t, 6, len(th.view.assigned["a"].Shards))
}

// Shards without an owner wait for nobody's bound.
func TestShardsWithoutAnOwnerDoNotWait(t *testing.T) {
	th := newTheatre(t, 1, specs(12)...)
	th.join("a")
	th.join("b")
	th.now = th.act().wake
	require.Zero(t, th.act().moves)
	require.Equal(t, "a: 0 10 2 4 6 8, b: 1 11 3 5 7 9", th.assigned())
}

func TestAFullWorkerGetsAShardOnlyAfterItHasGivenOne(t *testing.T) {
	spec := func(name string, labels ...string) ShardSpec {
		require := map[string]string{}
		for _, l := range labels {
			require[l] = "y"
		}
		return ShardSpec{Name: name, Require: require}
	}
	has := func(capacity int, labels ...string) func(*memberRecord) {
		return func(r *memberRecord) {
			r.Capacity, r.Labels = capacity, map[string]string{}
			for _, l := range labels {
				r.Labels[l] = "y"
			}
		}
	}
	th := newTheatre(t, 1, spec("1", "ab"), spec("2", "ab"), spec("3", "ab"), spec("4", "bc"), spec("5", "bc"))
	th.join("a", has(0, "ab"))
	th.join("b", has(2, "ab", "bc"))
	for shard, worker := range map[string]string{"1": "a", "2": "a", "3": "a", "4": "b", "5": "b"} {
		th.put(testPool.Key(keys.Owners, shard), ownerRecord{Worker: worker})
	}
	th.settle()
	require.Equal(t, "a: 1 2 3, b: 4 5", th.assigned())
	th.join("c", has(0, "bc"))
	for range 20 {
		if d := th.act(); !d.wake.IsZero() {
			th.now = d.wake
		}
		require.LessOrEqual(t, len(th.view.assigned["b"].Shards), 2)
		th.follow()
	}
	require.Len(t, th.view.assigned["a"].Shards, 2)
	require.Len(t, th.view.assigned["c"].Shards, 1)
}

func TestLabelsThatChangeSendTheShardAwayAtOnce(t *testing.T) {
	th := newTheatre(t, 1, ShardSpec{Name: "1", Require: map[string]string{"zone": "eu"}}, ShardSpec{Name: "2"}, ShardSpec{Name: "3"})
	zone := func(z string) func(*memberRecord) {
		return func(r *memberRecord) { r.Labels = map[string]string{"zone": z} }
	}
	th.join("a", zone("eu"))
	th.join("b", zone("us"))
	th.settle()
	th.join("a", zone("us"))
	th.join("b", zone("eu"))
	th.act()
	require.Contains(t, th.view.assigned["b"].Shards, "1")
	require.Contains(t, th.why("b"), "1 labels from a")

	th.join("b", zone("us"))
	d := th.act()
	require.Equal(t, []Unplaced{{Shard: "1", Why: UnplacedLabels}}, d.plan.Unplaced)
	require.NotContains(t, th.assigned(), "1")
}

func TestShardsThatAreNoLongerThereAreRevoked(t *testing.T) {
	th := newTheatre(t, 100, specs(4)...)
	th.join("a")
	th.settle()
	th.set = th.set[1:3]
	th.act()
	require.Equal(t, "a: 1 2", th.assigned())
	th.set = nil
	th.act()
	require.Empty(t, th.assigned())
}

// A leader that failed between two transactions has assigned a shard twice: it
// stays with its owner.
func TestAShardThatIsAssignedTwiceStaysWithItsOwner(t *testing.T) {
	th := newTheatre(t, 100, specs(4)...)
	th.join("a")
	th.join("b")
	th.put(testPool.Key(keys.Assigned, "a"), assignedRecord{Shards: []string{"0", "1"}})
	th.put(testPool.Key(keys.Assigned, "b"), assignedRecord{Shards: []string{"1", "2", "3"}})
	th.put(testPool.Key(keys.Owners, "1"), ownerRecord{Worker: "b"})
	th.act()
	require.NotContains(t, th.view.assigned["a"].Shards, "1")
	th.settle()
	require.Equal(t, "a: 0 3, b: 1 2", th.assigned())
}

func TestWithoutWorkersEverythingIsUnplaced(t *testing.T) {
	th := newTheatre(t, 100, specs(maxUnplaced+5)...)
	d := th.act()
	require.Len(t, d.plan.Unplaced, maxUnplaced)
	require.Equal(t, 5, d.plan.More)
	require.Equal(t, UnplacedAlone, d.plan.Unplaced[0].Why)
}

// Whatever happens, in whatever order, with leaders that come and go: when it
// ends, every shard is with a worker that is there, and the loads are even.
func TestAnyHistoryEndsEven(t *testing.T) {
	for seed := range uint64(200) {
		playPlan(t, seed)
	}
}

func FuzzAnyHistoryEndsEven(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { playPlan(t, seed) })
}

func playPlan(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 2))
	th := newTheatre(t, 1+rnd.IntN(10), specs(rnd.IntN(40))...)
	workers := []string{"a", "b", "c", "d", "e"}
	for range 60 {
		worker := workers[rnd.IntN(len(workers))]
		_, member := th.view.members[worker]
		switch rnd.IntN(8) {
		case 0, 1:
			th.join(worker)
		case 2:
			if member {
				th.join(worker, func(r *memberRecord) { r.Leaving = true })
			}
		case 3:
			th.crash(worker)
		case 4:
			th.planner = newPlanner(1+rnd.IntN(10), 10*time.Second)
		case 5:
			th.now = th.now.Add(time.Duration(rnd.IntN(8)) * time.Second)
		case 6:
			th.follow(fmt.Sprint(rnd.IntN(10)), fmt.Sprint(rnd.IntN(10)))
		default:
			th.act()
		}
	}
	for worker, m := range th.view.members {
		if m.Leaving {
			th.crash(worker)
		}
	}
	th.join("z")
	th.settle()
	var loads []int
	owned := 0
	for worker := range th.view.members {
		loads = append(loads, len(th.view.assigned[worker].Shards))
		owned += loads[len(loads)-1]
	}
	require.Equal(t, len(th.set), owned, "seed %d", seed)
	require.LessOrEqual(t, slices.Max(loads)-slices.Min(loads), 1, "seed %d: %s", seed, th.assigned())
	for _, spec := range th.set {
		require.Contains(t, th.view.assigned[th.view.owners[spec.Name].Worker].Shards, spec.Name, "seed %d", seed)
	}
}

// Ten thousand shards with names as long as they may be, on one worker: the
// value stays inside of etcd's request limit.
func TestTheLargestAssignmentFitsIntoARequest(t *testing.T) {
	set := make([]ShardSpec, 10_000)
	name := strings.Repeat("x", MaxNamesTotal/len(set)-3-5)
	for i := range set {
		set[i].Name = fmt.Sprintf("%s%05d", name, i)
	}
	th := newTheatre(t, 100, set...)
	th.join("a")
	th.now = th.act().wake
	l := &leader{pool: testPool, worker: "a"}
	batches := l.batches(th.view, th.act())
	require.Len(t, batches, 1)
	require.Less(t, batches[0].bytes, 1_500_000)

	for i := range set {
		set[i].Name += "y"
	}
	_, err := checked(set)
	require.ErrorContains(t, err, "use shorter ones")
}

// Two hundred workers and ten thousand shards take a few transactions, each
// inside of etcd's limits.
func TestALargePoolIsAssignedWithinEtcdsLimits(t *testing.T) {
	th := newTheatre(t, 100, specs(10_000)...)
	for i := range 200 {
		th.join(fmt.Sprintf("worker-%03d", i))
	}
	th.now = th.act().wake
	d := th.planner.decide(th.view, th.set, th.now)
	require.Len(t, d.changes, 200)
	l := &leader{pool: testPool, worker: "worker-000"}
	batches := l.batches(th.view, d)
	require.Len(t, batches, 3)
	for _, b := range batches {
		require.LessOrEqual(t, len(b.then), 127)
		require.LessOrEqual(t, len(b.compare), 127)
		require.Less(t, b.bytes, 1_500_000)
	}
}

func BenchmarkDecideAfterADeathAmongFifty(b *testing.B) {
	th := newTheatre(&testing.T{}, 100, specs(10_000)...)
	for i := range 50 {
		th.join(fmt.Sprintf("worker-%02d", i))
	}
	th.settle()
	th.crash("worker-00")
	th.now = th.act().wake
	for b.Loop() {
		d := th.planner.decide(th.view, th.set, th.now)
		if len(d.changes) != 50 {
			b.Fatal(len(d.changes))
		}
	}
}

func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	in := assignedRecord{Term: 7, Shards: []string{"a", `"quoted"`, "größe"},
		Moves: []moveRecord{{Shards: []string{"a"}, From: "b", Why: ReasonLost, Since: stamp(time.Now())}}}
	var out assignedRecord
	require.NoError(t, json.Unmarshal([]byte(encode(in)), &out))
	require.Equal(t, in, out)
}
