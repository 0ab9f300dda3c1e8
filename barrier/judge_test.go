package barrier

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// membersOf reads "name@create", with "!" for one that wants to leave and "/n"
// for one that expects n parties instead of three.
func membersOf(t *testing.T, text string) members {
	all := members{}
	for word := range strings.FieldsSeq(text) {
		m := member{}
		m.Parties = 3
		m.Leaving = strings.HasSuffix(word, "!")
		word, n, other := strings.Cut(strings.TrimSuffix(word, "!"), "/")
		if other {
			_, err := fmt.Sscan(n, &m.Parties)
			require.NoError(t, err)
		}
		name, create, _ := strings.Cut(word, "@")
		_, err := fmt.Sscan(create, &m.create)
		require.NoError(t, err)
		m.Key, m.Session, m.mod = name, name, m.create
		all[name] = m
	}
	return all
}

func said(d decision) string {
	switch {
	case d.gone != nil:
		return d.gone.Session + " is gone"
	case d.open != nil:
		names := []string{}
		for _, m := range d.open {
			names = append(names, m.Key)
		}
		return "open for " + strings.Join(names, " ")
	}
	return "wait"
}

func TestWhatTheKeeperOfAnEntranceDecides(t *testing.T) {
	for name, steps := range map[string][][2]string{
		"all come": {
			{"a@10", "wait"}, {"a@10 b@11", "wait"}, {"a@10 b@11 c@12", "open for a b c"},
		},
		"all have come before the keeper looks": {{"c@12 a@10 b@11", "open for a b c"}},
		"one dies":                              {{"a@10 b@11", "wait"}, {"a@10", "b is gone"}},
		"the keeper's key is deleted":           {{"a@10 b@11", "wait"}, {"b@11", "a is gone"}},
		"one dies as the last one comes":        {{"a@10 b@11", "wait"}, {"a@10 c@12 d@13", "b is gone"}},
		"one comes back under the same name":    {{"a@10 b@11", "wait"}, {"a@10 b@12 c@13", "b is gone"}},
		"too many come at once":                 {{"a@10 d@13 b@11 c@12", "open for a b c"}},
		"one of a gate before has not gone":     {{"x@9 a@10 b@11 c@12", "wait"}, {"a@10 b@11 c@12", "open for a b c"}},
		"one too many dies meanwhile": {
			{"x@9 a@10 b@11 c@12 d@13", "wait"}, {"x@9 a@10 b@11 c@12", "wait"}, {"a@10 b@11 c@12", "open for a b c"},
		},
		"one dies while that is waited for": {{"x@9 a@10 b@11 c@12", "wait"}, {"x@9 a@10 c@12", "b is gone"}},
		"one expects other numbers":         {{"a@10 z@11/2 b@12", "wait"}, {"a@10 z@11/2 b@12 c@13", "open for a b c"}},
		"and goes again":                    {{"a@10 z@11/2", "wait"}, {"a@10 b@12", "wait"}, {"a@10 b@12 c@13", "open for a b c"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := &entrance{gate: 10, parties: 3}
			for _, step := range steps {
				require.Equal(t, step[1], said(e.judge(membersOf(t, step[0]))), step[0])
			}
		})
	}
}

func TestWhatTheKeeperOfAnExitDecides(t *testing.T) {
	inside := []entered{
		{Party: Party{Session: "a"}, Key: "a", Create: 10},
		{Party: Party{Session: "b"}, Key: "b", Create: 11},
	}
	for now, want := range map[string]string{
		"a@10 b@11":          "wait",
		"a@10! b@11":         "wait",
		"a@10! b@11!":        "open for a b",
		"a@10! b@11! c@30":   "open for a b",
		"a@10!":              "b is gone",
		"b@11!":              "a is gone",
		"a@10! b@20! c@5!":   "b is gone",
		"":                   "a is gone",
		"a@10! b@11! x@1/2!": "open for a b",
	} {
		x := &exit{inside: inside}
		require.Equal(t, want, said(x.judge(membersOf(t, now))), now)
	}
}

// Whatever comes and goes: a gate opens for so many parties that have been
// there without a break, or somebody is named that has gone.
func FuzzEntrance(f *testing.F) {
	f.Add([]byte{0, 1, 2, 128 + 1, 3, 4})
	f.Add([]byte{7, 0, 1, 2, 135})
	f.Fuzz(func(t *testing.T, script []byte) {
		const parties, gate = 3, 100
		e := &entrance{gate: gate, parties: parties}
		now, revision := members{}, int64(gate-3)
		shown := map[string]int64{} // who was there at the last look, unbroken since
		for _, step := range script {
			name := fmt.Sprint(step & 7)
			if step >= 128 {
				delete(now, name)
			} else if _, there := now[name]; !there {
				m := member{create: revision, mod: revision}
				m.Key, m.Parties = name, parties
				now[name] = m
				revision++
			}
			if step&8 != 0 {
				continue // more happens before the keeper looks
			}
			d := e.judge(now)
			for _, m := range d.open {
				require.True(t, now.has(m.Key, m.create), "who passes is there")
				require.GreaterOrEqual(t, m.create, int64(gate), "and has come to this gate")
			}
			if d.open != nil {
				require.Len(t, d.open, parties)
				require.True(t, slices.IsSortedFunc(d.open, func(a, b member) int { return int(a.create - b.create) }))
				return
			}
			if d.gone != nil {
				create, was := shown[d.gone.Key]
				require.True(t, was && !now.has(d.gone.Key, create), "who is named was seen, and is gone")
				return
			}
			for _, m := range now {
				if m.create >= gate {
					shown[m.Key] = m.create
				}
			}
		}
	})
}
