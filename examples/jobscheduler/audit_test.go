package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheAuditFindsWhatTheLockIsToPrevent(t *testing.T) {
	one, two := &node{name: "node-1"}, &node{name: "node-2"}
	start := time.Now()
	good := func() ([]kept, *story) {
		return []kept{
				{record{Tick: 1, Node: "node-1", Token: 10}, 1, 100},
				{record{Tick: 2, Node: "node-2", Token: 20}, 1, 101},
			}, &story{
				grants:   []event{{node: one, token: 10}, {node: two, token: 20}},
				runs:     []event{{node: one, tick: 1}, {node: two, tick: 2}},
				handover: handover{from: one, to: two, stopped: start, taken: start.Add(time.Second)},
			}
	}
	for _, test := range []struct {
		name  string
		spoil func(records []kept, s *story)
		bad   string
	}{
		{"nothing", func([]kept, *story) {}, ""},
		{"a tick run twice", func(r []kept, _ *story) { r[1].version = 2 }, "tick 2 was run 2 times"},
		{"a late write of the old holder", func(r []kept, _ *story) { r[0].revision = 102 }, "node-1 wrote with 10 after node-2 with 20"},
		{"one token for two nodes", func(r []kept, _ *story) { r[1].Token = 10 }, "node-2 wrote with 10 after node-1 with 10"},
		{"a token that did not grow", func(_ []kept, s *story) { s.grants[1].token = 10 }, "node-2 got 10 after node-1 had 10"},
		{"a confirmed run without a record", func(r []kept, _ *story) { r[1].Tick = 3 }, "tick 2 of node-2 is not"},
		{"a write taken too late", func(_ []kept, s *story) { s.retries = []event{{node: one, tick: 1}} }, "it took tick 1 of node-1"},
		{"a holder that stopped too late", func(_ []kept, s *story) { s.handover.stopped = start.Add(time.Minute) }, "it had not"},
		{"a holder that never stopped", func(_ []kept, s *story) { s.handover.stopped = time.Time{} }, "it had not"},
	} {
		t.Run(test.name, func(t *testing.T) {
			records, s := good()
			test.spoil(records, s)
			var out bytes.Buffer
			err := printChecks(&out, audit(records, s))
			if test.bad == "" {
				require.NoError(t, err)
				require.NotContains(t, out.String(), "FAILED")
				return
			}
			require.ErrorIs(t, err, errCheck)
			require.Contains(t, out.String(), test.bad)
		})
	}
}

func TestNumbersAreWrittenAsRanges(t *testing.T) {
	require.Equal(t, "-", ranges(nil))
	require.Equal(t, "1-5, 8, 10-12", ranges([]int64{1, 2, 3, 4, 5, 8, 10, 11, 12}))
	require.Equal(t, "6-7, 9", ranges(gaps([]int64{1, 2, 3, 4, 5, 8, 10, 11, 12})))
}
