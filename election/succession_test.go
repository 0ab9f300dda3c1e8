package election

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// queue makes candidates of words: a name, for foreign ones in brackets, then
// its rank, then "w" if it waits. Tokens count from 1.
func queue(words string) []Candidate {
	var list []Candidate
	for i, word := range strings.Fields(words) {
		c := Candidate{Token: int64(i + 1)}
		c.Name, c.Foreign = strings.CutPrefix(word, "[")
		c.Name = strings.TrimSuffix(c.Name, "]")
		c.Name, c.Waits = strings.CutSuffix(c.Name, "w")
		_, _ = fmt.Sscanf(c.Name[1:], "%d", &c.Rank)
		c.Name = c.Name[:1]
		list = append(list, c)
	}
	return list
}

func TestWhomATermPassesTo(t *testing.T) {
	for _, test := range []struct {
		queue, to string
		heir      string // "" for whoever is next
		between   int
		err       error
	}{
		{queue: "a", to: ""},
		{queue: "a b c", to: ""},
		{queue: "a b c", to: "b", heir: "b"},
		{queue: "a b c d", to: "d", heir: "d", between: 2},
		{queue: "a b c b", to: "b", heir: "b"},
		{queue: "a b a", to: "a", heir: "a", between: 1},
		{queue: "a b", to: "a", err: ErrNotStanding},
		{queue: "a b", to: "x", err: ErrNotStanding},
		{queue: "a", to: "x", err: ErrNotStanding},
		{queue: "a [b] c", to: "c", err: ErrBlocked},
		{queue: "a b [c] d", to: "b", heir: "b"},
		{queue: "a b [c] d", to: "c", heir: "c", between: 1},

		{queue: "a b1 c2 d2", to: "", heir: "c", between: 1},
		{queue: "a b2 c2", to: ""},
		{queue: "a9 b0 c5w", to: "", heir: "c", between: 1},
		{queue: "a b1 [c] d9", to: ""},
		{queue: "a b1 d3 [c] e9", to: "", heir: "d", between: 1},
		{queue: "a b1 c9", to: "b", heir: "b"},
	} {
		plan, err := chosen(queue(test.queue), 1, test.to)
		require.ErrorIs(t, err, test.err, test)
		if test.heir == "" {
			require.Nil(t, plan, test)
			continue
		}
		require.NotNil(t, plan, test)
		require.Equal(t, test.heir, plan.heir.Name, test)
		require.Len(t, plan.between, test.between, test)
	}
	_, err := chosen(queue("a b"), 99, "b")
	require.ErrorIs(t, err, errGone)
}

func TestWhoOvertakesALeader(t *testing.T) {
	for queued, want := range map[string]bool{
		"a5":             false,
		"a5 b5":          false,
		"a5 b6":          true,
		"a5 b6w":         false,
		"a5 b6w c7":      true,
		"a5 b1 c6":       true,
		"a5 [b] c6":      false,
		"a5 b6 [c]":      true,
		"a5 b0 [c] d9":   false,
		"a5 b6w [c] d9":  false,
		"a5 b0 c0w d5w":  false,
		"a5 b4 c4 d4 e6": true,
	} {
		require.Equal(t, want, overtaken(queue(queued), 1, 5), queued)
	}
}

func TestABetterCandidateMustHaveStoodForAWhile(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	says := func(key, value string) *clientv3.Event {
		return &clientv3.Event{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value)}}
	}
	leaves := func(key string) *clientv3.Event {
		return &clientv3.Event{Type: clientv3.EventTypeDelete, Kv: &mvccpb.KeyValue{Key: []byte(key)}}
	}
	r := rivals{rank: 1, after: 10 * time.Second}
	due := func() string {
		at, ok := r.due()
		if !ok {
			return "never"
		}
		return fmt.Sprint(at.Sub(start))
	}
	r.see([]*clientv3.Event{says("a", `{"session":"a","rank":1}`), says("b", `{"session":"b","rank":9,"waits":true}`), says("c", `?`)}, at(0))
	require.Equal(t, "never", due())
	r.see([]*clientv3.Event{says("d", `{"session":"d","rank":2}`)}, at(1))
	require.Equal(t, "11s", due())
	r.see([]*clientv3.Event{leaves("d")}, at(5))
	require.Equal(t, "never", due(), "it did not stay")
	r.see([]*clientv3.Event{says("d", `{"session":"d","rank":2}`)}, at(6))
	require.Equal(t, "16s", due(), "the time counts from its return")
	r.see([]*clientv3.Event{says("d", `{"session":"d","rank":3}`), says("e", `{"session":"e","rank":3}`)}, at(8))
	require.Equal(t, "16s", due())
	r.again(at(16))
	require.Equal(t, "18s", due(), "e is the next")
	r.again(at(18))
	require.Equal(t, "26s", due(), "d is looked at again")
	r.see([]*clientv3.Event{says("d", `{"session":"d","rank":1}`), leaves("e")}, at(20))
	require.Equal(t, "never", due())
}
