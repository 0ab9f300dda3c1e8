package queue

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPlacesSortLikeTheirNames(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	ordered := []place{
		{priority: Highest, due: at.Add(time.Hour), id: "0aaaaaaaaaaaaaaaa"},
		{priority: Normal, due: at, id: "0aaaaaaaaaaaaaaaa"},
		{priority: Normal, due: at, id: "1aaaaaaaaaaaaaaaa"},
		{priority: Normal, due: at.Add(time.Millisecond), id: "0aaaaaaaaaaaaaaaa"},
		{priority: Lowest, due: time.UnixMilli(0).UTC(), id: "0aaaaaaaaaaaaaaaa"},
		{priority: Lowest, due: time.UnixMilli(lastMilli).UTC(), id: "7zzzzzzzzzzzzzzzz"},
	}
	for i, p := range ordered {
		back, ok := parsePlace(p.String())
		require.True(t, ok, p.String())
		require.Equal(t, p, back)
		for j, q := range ordered {
			require.Equal(t, i < j, p.before(q))
			require.Equal(t, i < j, p.String() < q.String(), "%v and %v", p, q)
		}
	}
}

func TestIdsNameTheirShardAndSpreadOverAll(t *testing.T) {
	var count [shards]int
	for range 8000 {
		id := newID()
		n, ok := shardOf(id)
		require.True(t, ok, id)
		count[n]++
	}
	require.Greater(t, slices.Min(count[:]), 700)
	for _, id := range []string{"", "0", "8aaaaaaaaaaaaaaaa", "0aaaaaaaaaaaaaaa", "0aaaaaaaaaaaaaaa1", "0aaaaaaaaaaaaaaa/", "0AAAAAAAAAAAAAAAA"} {
		_, ok := shardOf(id)
		require.False(t, ok, id)
	}
}

func FuzzParsePlace(f *testing.F) {
	f.Add("5-1700000000000-0aaaaaaaaaaaaaaaa")
	f.Add("a-b-c")
	f.Fuzz(func(t *testing.T, name string) {
		if p, ok := parsePlace(name); ok && p.String() != name {
			t.Fatalf("%q was read as %q", name, p.String())
		}
	})
}

func TestEachShardIsLookedAfterByOneAndOnlyItsOwnMoveWhenSomebodyComesOrGoes(t *testing.T) {
	members := map[string]bool{}
	owner := func() (owners [shards]string) {
		for name := range members {
			for n, mine := range responsible(name, members) {
				if mine {
					require.Empty(t, owners[n], "two look after a shard")
					owners[n] = name
				}
			}
		}
		return owners
	}
	var before [shards]string
	for i := range 12 {
		name := fmt.Sprintf("%x-1", i*7919)
		members[name] = true
		after := owner()
		for n := range after {
			require.NotEmpty(t, after[n])
			require.True(t, after[n] == before[n] || after[n] == name, "a shard moved between others")
		}
		before = after
	}
	require.Equal(t, [shards]bool{}, responsible("stranger", members), "who has no room looks after none")
}

// A backlog under a script: "+" puts a task, "-" removes it, "c" and "r" are
// claims that come and go, "?" takes what is next.
func TestABacklogGivesOutTasksInOrderAndNoneThatIsTaken(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	spot := func(letter string, priority int, delay time.Duration) place {
		return place{priority: priority, due: at.Add(delay), id: "0" + strings.Repeat(letter, 16)}
	}
	a, b, high := spot("a", Normal, 0), spot("b", Normal, time.Second), spot("h", Highest, 2*time.Second)
	all := newBacklog()
	l := &all
	take := func(now time.Time) string {
		if it := l.take(now); it != nil {
			return it.place.id[1:2]
		}
		return ""
	}
	l.put(b, entry{}, 1)
	l.put(a, entry{}, 2)
	l.put(high, entry{}, 3)
	require.Equal(t, "a", take(at), "the others are not due")
	require.Equal(t, "", take(at))
	require.Equal(t, b.due, l.next())
	require.Equal(t, "h", take(at.Add(time.Hour)), "the higher priority first")
	l.hold(b.id, 5)
	require.Equal(t, "", take(at.Add(time.Hour)), "somebody else has it")
	l.release(b.id, 4)
	require.Equal(t, "", take(at.Add(time.Hour)), "an older event")
	l.release(b.id, 6)
	require.Equal(t, "b", take(at.Add(time.Hour)))

	l.put(a, entry{Tries: 1}, 7)
	require.Equal(t, "", take(at.Add(time.Hour)), "this consumer has it")
	it := l.items[a.String()]
	l.free(it)
	require.Equal(t, 1, it.entry.Tries)
	l.put(a, entry{Tries: 0}, 6)
	require.Equal(t, 1, it.entry.Tries, "an older event")
	l.remove(a, 6)
	require.Equal(t, "a", take(at.Add(time.Hour)), "an older event")
	l.remove(a, 8)
	l.free(it)
	require.Equal(t, "", take(at.Add(time.Hour)))
	require.True(t, l.next().IsZero())
	l.drop(0)
	require.Empty(t, l.items)
	require.Empty(t, l.byID)
	require.Empty(t, l.held)
}
