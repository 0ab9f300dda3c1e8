package fleet

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/config"
)

func TestAReportTellsAppliedFromRefusedFromNeither(t *testing.T) {
	no := &Rejection{Revision: 9, Problem: "bad"}
	for _, c := range []struct {
		name             string
		r                Report
		applied, refused bool
	}{
		{"older", Report{Revision: 5, Seen: 5, Current: true}, false, false},
		{"the very one", Report{Revision: 9, Seen: 9, Current: true}, true, false},
		{"a newer one", Report{Revision: 10, Seen: 10, Current: true}, true, false},
		{"has it, and rejected a newer one", Report{Revision: 9, Seen: 11, Rejected: &Rejection{Revision: 11}}, true, false},
		{"started later, nothing has changed since", Report{Revision: 5, Seen: 12, Current: true}, true, false},
		{"rejected it", Report{Revision: 5, Seen: 9, Rejected: no}, false, true},
		{"rejected it, took the next", Report{Revision: 10, Seen: 10, Current: true, Rejected: no}, true, false},
		{"rejected an older one, has not seen this", Report{Revision: 5, Seen: 8, Rejected: &Rejection{Revision: 8}}, false, false},
		{"on its fallback of that revision", Report{Revision: 9, Fallback: true}, false, false},
		{"on its fallback because it rejected it", Report{Revision: 5, Fallback: true, Rejected: no}, false, true},
	} {
		require.Equal(t, c.applied, c.r.Applied(9), c.name)
		require.Equal(t, c.refused, c.r.Refused(9), c.name)
	}
}

func applied(name string) Report { return Report{Name: name, Revision: 9, Seen: 9, Current: true} }
func waiting(name string) Report { return Report{Name: name, Revision: 5, Seen: 5, Current: true} }
func refused(name string) Report {
	return Report{Name: name, Revision: 5, Seen: 9, Rejected: &Rejection{Revision: 9, Problem: "max_conns: want an integer"}}
}

func TestConditionsAreMetOrImpossible(t *testing.T) {
	for _, c := range []struct {
		name             string
		c                Condition
		reports          []Report
		enough, possible bool
	}{
		{"all of none", All(), nil, false, true},
		{"all of two", All(), []Report{applied("a"), applied("b")}, true, true},
		{"one waits", All(), []Report{applied("a"), waiting("b")}, false, true},
		{"one refused", All(), []Report{applied("a"), refused("b")}, false, false},
		{"quorum of none", Quorum(), nil, false, true},
		{"one of two is no quorum", Quorum(), []Report{applied("a"), waiting("b")}, false, true},
		{"two of three", Quorum(), []Report{applied("a"), applied("b"), refused("c")}, true, true},
		{"two of four refused", Quorum(), []Report{applied("a"), waiting("b"), refused("c"), refused("d")}, false, false},
		{"names", Names("a"), []Report{applied("a"), refused("b")}, true, true},
		{"a name that is not there", Names("a", "c"), []Report{applied("a")}, false, true},
		{"a name that refused", Names("a", "b"), []Report{waiting("a"), refused("b")}, false, false},
		{"no names", Names(), []Report{applied("a")}, false, true},
	} {
		enough, possible := c.c.need(newStatus(9, c.reports))
		require.Equal(t, c.enough, enough, c.name)
		require.Equal(t, c.possible, possible, c.name)
	}
}

func TestAStatusIsSaidInWords(t *testing.T) {
	s := newStatus(9, []Report{applied("a"), refused("b"), waiting("c")})
	require.Equal(t, "1 of 3 applied revision 9, 1 rejected it (b: max_conns: want an integer), 1 waiting (c)", s.String())
}

func TestARejectionNamesTheFieldsThatWereWrong(t *testing.T) {
	err := errors.Join(&config.FieldError{Path: "a", Problem: "x"}, &config.FieldError{Path: "b.c", Problem: "y"})
	require.Equal(t, []string{"a", "b.c"}, newRejection(&config.RejectedError{Revision: 3, Err: err}).Fields)
	require.Empty(t, newRejection(&config.RejectedError{Err: errors.New("whole")}).Fields)
	require.Nil(t, newRejection(nil))
}

func TestAStepIsJudgedByThoseWhoAreConcerned(t *testing.T) {
	chosen := func(r Report) (bool, bool) { return r.Name != "rest", r.Staged == "id" }
	has := func(name string) Report { r := applied(name); r.Staged = "id"; return r }
	well := func(r Report, at int64, problem string) Report {
		r.AsksHealth, r.Health = true, &Health{Revision: at, Problem: problem}
		return r
	}
	unasked := has("a")
	unasked.AsksHealth = true
	for _, c := range []struct {
		name  string
		steps [][]Report
		ready bool
		err   string
	}{
		{"nobody is chosen", [][]Report{{applied("rest")}}, false, ""},
		{"has it", [][]Report{{has("a"), refused("rest")}}, true, ""},
		{"has seen the revision and not the change", [][]Report{{applied("a")}}, false, ""},
		{"one of two", [][]Report{{has("a"), waiting("b")}}, false, ""},
		{"refused", [][]Report{{has("a"), refused("b")}}, false, "b: max_conns"},
		{"not asked yet", [][]Report{{unasked}}, false, ""},
		{"asked before", [][]Report{{well(has("a"), 8, "old trouble")}}, false, ""},
		{"well", [][]Report{{well(has("a"), 9, "")}}, true, ""},
		{"not well", [][]Report{{well(has("a"), 9, "errors")}}, false, "a is not well: errors"},
		{"not well before it had the change", [][]Report{{well(waiting("a"), 9, "errors")}}, false, ""},
		{"vanished", [][]Report{{has("a"), has("b")}, {has("a")}}, false, "b has vanished"},
		{"vanished before it had it", [][]Report{{has("a"), waiting("b")}, {has("a")}}, true, ""},
	} {
		w := watcher{revision: 9, concerns: chosen, applied: map[string]bool{}}
		var ready bool
		var err error
		for _, reports := range c.steps {
			ready, err = w.judge(reports)
		}
		require.Equal(t, c.ready, ready, c.name)
		if c.err == "" {
			require.NoError(t, err, c.name)
			continue
		}
		require.ErrorContains(t, err, c.err, c.name)
	}
}
