package barrier

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A party came at revision 20, when the record was that of revision 10 and
// "keeper" kept the gate that was made at 15.
func TestWhatBecameOfAParty(t *testing.T) {
	keeper := presence{Party: Party{Session: "keeper"}, Key: "k", Parties: 3}
	came := ticket{after: 10, at: 20, keeper: keeper}
	died := breach{By: keeper.Party, Key: "k", Reason: ReasonDied}
	other := breach{After: 10, Gate: 15, By: Party{Session: "other"}, Key: "o", Reason: ReasonGaveUp}
	for what, c := range map[string]struct {
		view view
		want outcome
		by   breach
	}{
		"the gate is there":                        {view{mod: 10, gate: 15, keeper: keeper}, waiting, breach{}},
		"it keeps the gate itself":                 {view{mod: 10, gate: 20}, waiting, breach{}},
		"the gate is gone":                         {view{mod: 10}, broken, died},
		"there is a younger one":                   {view{mod: 10, gate: 21}, broken, died},
		"the gate was opened":                      {view{mod: 30, record: record{Opened: &opening{10, 15, 20}}}, passed, breach{}},
		"and others wait at the next":              {view{mod: 30, gate: 31, record: record{Opened: &opening{10, 15, 25}}}, passed, breach{}},
		"it was complete without the party":        {view{mod: 30, record: record{Opened: &opening{10, 15, 19}}}, surplus, breach{}},
		"a younger gate was opened":                {view{mod: 30, record: record{Opened: &opening{10, 22, 25}}}, broken, died},
		"the gate was broken":                      {view{mod: 30, record: record{Broken: &other}}, broken, other},
		"a younger gate was broken":                {view{mod: 30, record: record{Broken: &breach{After: 10, Gate: 22}}}, broken, died},
		"it was opened and the next was broken":    {view{mod: 40, record: record{Opened: &opening{10, 15, 20}, Broken: &breach{After: 30, Gate: 31}}}, passed, breach{}},
		"the one before was opened, this broken":   {view{mod: 30, record: record{Opened: &opening{5, 7, 8}, Broken: &other}}, broken, other},
		"the next was broken, and nothing is said": {view{mod: 40, record: record{Opened: &opening{5, 7, 8}, Broken: &breach{After: 30, Gate: 31}}}, overdue, breach{}},
		"the next was opened, and nothing is said": {view{mod: 40, record: record{Opened: &opening{30, 31, 32}}}, overdue, breach{}},
	} {
		got, by := came.verdict(c.view)
		require.Equal(t, c.want, got, what)
		require.Equal(t, c.by, by, what)
	}
}

func TestAViewIsWhatTheWatchAndTheReadsTell(t *testing.T) {
	at := site("/b/")
	put := func(key, value string, create, mod int64) *clientv3.Event {
		return &clientv3.Event{Kv: &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), CreateRevision: create, ModRevision: mod}}
	}
	gone := func(key string, mod int64) *clientv3.Event {
		return &clientv3.Event{Type: clientv3.EventTypeDelete, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: mod}}
	}
	var seen view
	seen.apply(at, put("/b/gate/keeper", `{"session":"one","parties":3}`, 5, 5))
	require.EqualValues(t, 5, seen.gate)
	require.Equal(t, 3, seen.keeper.Parties)
	seen.apply(at, put("/b/gate/record", `{"generation":7}`, 2, 9))
	seen.apply(at, gone("/b/gate/keeper", 9))
	seen.rev = 9
	require.Equal(t, view{rev: 9, record: record{Generation: 7}, mod: 9}, seen)

	now := view{rev: 8, gate: 5}
	now.supersede(seen)
	require.Equal(t, seen, now)
	now.supersede(view{rev: 3, gate: 1})
	require.Equal(t, seen, now, "what is older says nothing")

	read := viewOf(at, []*mvccpb.KeyValue{put("/b/gate/record", `{"generation":7}`, 2, 9).Kv}, 9)
	require.Equal(t, seen, read)
	seen.apply(at, gone("/b/gate/record", 12))
	require.Equal(t, view{rev: 9}, seen)
}
