package barrier

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAStatusSaysWhoIsWhere(t *testing.T) {
	names := func(parties []Party) (out []string) {
		for _, p := range parties {
			out = append(out, p.Session)
		}
		return out
	}
	for what, c := range map[string]struct {
		view            view
		now             string
		parties, absent int
		present, inside []string
	}{
		"nobody":                      {view{}, "", 5, 5, nil, nil},
		"some have come":              {view{gate: 10, keeper: presence{Parties: 3}}, "a@10 b@11", 3, 1, []string{"a", "b"}, nil},
		"one of a gate before":        {view{gate: 10, keeper: presence{Parties: 3}}, "x@9 a@10", 3, 2, []string{"a"}, nil},
		"one with another number":     {view{gate: 10, keeper: presence{Parties: 3}}, "a@10 z@11/7", 3, 2, []string{"a"}, nil},
		"all are inside":              {view{record: record{Inside: 3}}, "a@10 b@11 c@12", 3, 3, nil, []string{"a", "b", "c"}},
		"two want to leave":           {view{gate: 20, record: record{Inside: 3}}, "a@10! b@11! c@12", 3, 1, []string{"a", "b"}, []string{"c"}},
		"one of those inside is dead": {view{record: record{Inside: 3}}, "a@10 c@12", 3, 3, nil, []string{"a", "c"}},
	} {
		st := statusOf(c.view, membersOf(t, c.now), 5)
		require.Equal(t, c.parties, st.Parties, what)
		require.Equal(t, c.absent, st.Missing, what)
		require.Equal(t, c.present, names(st.Present), what)
		require.Equal(t, c.inside, names(st.Inside), what)
	}
}

func TestHowABarrierStands(t *testing.T) {
	for what, c := range map[string]struct {
		record holdRecord
		keys   map[string]int64
		want   hold
	}{
		"never held":                       {holdRecord{}, nil, free},
		"held":                             {holdRecord{Held: true, Key: "k"}, map[string]int64{"k": 7}, held},
		"the holder's key is gone":         {holdRecord{Held: true, Key: "k"}, nil, orphaned},
		"the holder's key is another hold": {holdRecord{Held: true, Key: "k"}, map[string]int64{"k": 9}, orphaned},
		"persistent":                       {holdRecord{Held: true, Persistent: true, Key: "k"}, nil, held},
		"released":                         {holdRecord{Key: "k"}, map[string]int64{"k": 7}, free},
	} {
		v := holdView{record: c.record, mod: 7, keys: c.keys}
		require.Equal(t, c.want, v.standing(), what)
	}
}

func TestATransactionKeepsToTheLimitOfEachLevel(t *testing.T) {
	for _, n := range []int{0, 1, 100, 101, 128, MaxParties} {
		ops := chunks(removal(make([]member, n)))
		flat := 0
		for _, op := range ops {
			if !op.IsTxn() {
				flat++
				continue
			}
			_, then, _ := op.Txn()
			// The record, the gate and the roll come on top of these.
			require.LessOrEqual(t, len(then)+len(ops)+3, 128)
			flat += len(then)
		}
		require.Equal(t, n, flat)
		require.LessOrEqual(t, len(ops)+3, 128)
	}
}

func TestAnErrorSaysWhoAndWhy(t *testing.T) {
	by := Party{Session: "mapper-3", Host: "h1", PID: 12}
	for want, err := range map[string]error{
		`barrier: broken: "steps": "mapper-3" (h1, pid 12) died`:                             &BrokenError{Name: "steps", By: by, Reason: ReasonDied},
		`barrier: broken: "steps": "mapper-3" (h1, pid 12) its action failed: disk full`:     &BrokenError{Name: "steps", By: by, Reason: ReasonAction, Text: "disk full"},
		`barrier: broken: "steps": a party did not come, and it is not known any more which`: &BrokenError{Name: "steps"},
		`barrier: different number of parties: "steps": 3 here, 4 there`:                     &PartiesError{Name: "steps", Own: 3, Other: 4},
	} {
		require.EqualError(t, err, want)
	}
	var back record
	r := record{Generation: 3, Broken: &breach{After: 1, Gate: 2, By: by, Key: "k", Reason: ReasonReset}}
	require.NoError(t, json.Unmarshal([]byte(encode(r)), &back))
	require.Equal(t, r, back)
}
