package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/barrier"
	"github.com/gotenure/tenure/integration/history"
)

// A call is one at a barrier, as its caller saw it.
type call struct {
	who, what  string
	begin, end time.Duration
	ended      bool
	generation int64
	latch      string
	err        error
	passed     bool
	broken     *barrier.BrokenError
}

func (c call) String() string {
	s := fmt.Sprintf("%v to %v %s %s", c.begin, c.end, c.who, c.what)
	if c.generation > 0 {
		s += fmt.Sprintf(" %d", c.generation)
	}
	if c.err != nil {
		return s + ": " + c.err.Error()
	}
	return s
}

// A diary collects calls. The visitors pause between two, so that their times
// tell them apart.
type diary struct {
	now  func() time.Duration
	calm time.Duration // from when on there were no faults

	mu sync.Mutex

	calls     []call
	leftovers []history.Violation
}

func (d *diary) begin(who, what string) *call {
	return &call{who: who, what: what, begin: d.now()}
}

// end takes note of a call's outcome, once.
func (d *diary) end(c *call, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.ended {
		return
	}
	c.ended, c.end, c.err, c.passed = true, d.now(), err, err == nil
	errors.As(err, &c.broken)
	d.calls = append(d.calls, *c)
}

// lookForLeftovers finds the keys that live sessions have left behind.
func (d *diary) lookForLeftovers(t *testing.T, client *clientv3.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := client.Get(ctx, barriers, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	require.NoError(t, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, kv := range resp.Kvs {
		key := string(kv.Key)
		hold := strings.HasPrefix(key, barriers+"hold/") // is one that somebody was about to release
		if !hold && (strings.Contains(key, "/parties/") || strings.HasSuffix(key, "/gate/keeper")) {
			d.leftovers = append(d.leftovers, history.Violation{Rule: "left", Name: key, At: d.now(), Text: "nobody waits any more"})
		}
	}
}

// around is what happened about the time of a violation.
func (d *diary) around(h history.History, at time.Duration) string {
	type line struct {
		at   time.Duration
		text string
	}
	var lines []line
	near := func(t time.Duration) bool { return t > at-15*time.Second && t < at+5*time.Second }
	for _, c := range d.calls {
		if near(c.end) {
			lines = append(lines, line{c.end, "      " + c.String()})
		}
	}
	for _, c := range h.Changes {
		if near(c.At) && strings.HasPrefix(c.Key, barriers) {
			lines = append(lines, line{c.At, c.String() + " " + c.Value})
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.at, b.at) })
	var out strings.Builder
	for _, l := range lines {
		fmt.Fprintln(&out, l.text)
	}
	return out.String()
}

// checkBarriers checks the calls against each other and against the store:
//
//	B1    somebody passed a barrier that was held all the time
//	B2    somebody left before all who had entered wanted to
//	B3    of those at one gate, some passed and some were told that it broke,
//	      or more passed than there are parties, or too few had come and lived
//	B4    a latch was open that had too few contributions, or did not stay open
//	act   a generation passed without its action
//	live  nothing passed although all was well
//	left  a key stays that nobody has a use for
//	blind the observer missed something
func checkBarriers(calls []call, h history.History) []history.Violation {
	var out []history.Violation
	for _, gap := range h.Gaps {
		out = append(out, history.Violation{Rule: "blind", At: h.End, Text: gap})
	}
	out = append(out, checkHolds(calls)...)
	out = append(out, checkLeaving(calls)...)
	out = append(out, checkGates(calls, h, "await", barriers+"cyclic/phases/")...)
	out = append(out, checkGates(calls, h, "enter", barriers+"double/work/")...)
	out = append(out, checkActions(calls)...)
	out = append(out, checkLatches(calls, h)...)
	out = append(out, checkLiveness(calls, h.End)...)
	return out
}

func of(calls []call, what string) []call {
	return slices.DeleteFunc(slices.Clone(calls), func(c call) bool { return c.what != what })
}

// checkHolds: whoever passes has come before the hold, or goes after it.
func checkHolds(calls []call) (out []history.Violation) {
	releases := of(calls, "release") // by anybody
	for _, held := range of(calls, "held") {
		for _, r := range releases {
			if r.end >= held.begin {
				held.end = min(held.end, r.begin)
			}
		}
		for _, w := range of(calls, "wait") {
			if w.passed && w.begin > held.begin && w.end < held.end {
				out = append(out, history.Violation{Rule: "B1", Name: "closed", At: w.end,
					Text: fmt.Sprintf("%v passed, while %v", w, held)})
			}
		}
	}
	return out
}

// checkLeaving: all of a generation have wanted to leave before one has.
func checkLeaving(calls []call) (out []history.Violation) {
	leaves := of(calls, "leave")
	for _, left := range leaves {
		wanted := 0
		for _, l := range leaves {
			if l.generation != left.generation {
				continue
			}
			if l.begin <= left.end {
				wanted++
			}
			if left.passed && l.broken != nil {
				out = append(out, history.Violation{Rule: "B2", Name: "work", At: l.end,
					Text: fmt.Sprintf("%v, but %v", left, l)})
			}
		}
		if left.passed && wanted != parties {
			out = append(out, history.Violation{Rule: "B2", Name: "work", At: left.end,
				Text: fmt.Sprintf("%v when %d wanted to", left, wanted)})
		}
	}
	return out
}

// A gateLife is one gate, as the store had it, and who came to it.
type gateLife struct {
	at, gone       time.Duration // from when to when it was there
	came           []history.Change
	left           map[string]time.Duration // when the keys of those who came were deleted
	passed, broken []call
}

// lag is by how much the keeper's knowledge can be late: less than its own lease
// lives.
const lag = 10 * time.Second

// alive counts those who came and were there when the gate was decided, or
// nearly.
func (g *gateLife) alive() (n int) {
	for _, p := range g.came {
		if left, ok := g.left[p.Key]; !ok || left > g.gone-lag {
			n++
		}
	}
	return n
}

func checkGates(calls []call, h history.History, what, site string) (out []history.Violation) {
	gates := gatesOf(h, site)
	passedBy := map[int64]*gateLife{} // by generation
	for _, c := range of(calls, what) {
		g := gateOf(c, gates)
		if g == nil {
			if c.passed {
				out = append(out, history.Violation{Rule: "B3", Name: what, At: c.end, Text: fmt.Sprintf("%v without having come to a gate", c)})
			}
			continue
		}
		switch {
		case c.passed:
			g.passed = append(g.passed, c)
			if before := passedBy[c.generation]; before != nil && before != g {
				out = append(out, history.Violation{Rule: "B3", Name: what, At: c.end,
					Text: fmt.Sprintf("%v, which had passed before, at another gate", c)})
			}
			passedBy[c.generation] = g
		case c.broken != nil:
			g.broken = append(g.broken, c)
		}
	}
	for _, g := range gates {
		bad := ""
		switch {
		case len(g.passed) > 0 && len(g.broken) > 0:
			bad = fmt.Sprintf("%v, but %v", g.passed[0], g.broken[0])
		case len(g.passed) > parties:
			bad = fmt.Sprintf("%d passed: %v", len(g.passed), g.passed)
		case len(g.passed) > 0 && len(g.came) < parties:
			bad = fmt.Sprintf("%v when %d had come", g.passed[0], len(g.came))
		case len(g.passed) > 0 && g.alive() < parties:
			bad = fmt.Sprintf("%v when %d of those who had come were alive", g.passed[0], g.alive())
		}
		if bad != "" {
			out = append(out, history.Violation{Rule: "B3", Name: what, At: g.at, Text: bad})
		}
	}
	return out
}

// gatesOf returns the gates of a site and who came while they were there.
func gatesOf(h history.History, site string) []*gateLife {
	var gates []*gateLife
	var now *gateLife
	var same []history.Change // parties that came before their gate was seen, in the same revision
	for _, c := range h.Changes {
		switch {
		case c.Key == site+"gate/keeper" && !c.Deleted:
			now = &gateLife{at: c.At, gone: h.End, left: map[string]time.Duration{}}
			for _, p := range same {
				if p.Revision == c.Revision {
					now.came = append(now.came, p)
				}
			}
			gates = append(gates, now)
		case c.Key == site+"gate/keeper":
			if now != nil {
				now.gone = c.At
			}
			now = nil
		case strings.HasPrefix(c.Key, site+"parties/") && c.Deleted:
			if now != nil {
				now.left[c.Key] = c.At
			}
		case strings.HasPrefix(c.Key, site+"parties/") && c.Created == c.Revision:
			if now != nil {
				now.came = append(now.came, c)
			} else {
				same = append(same, c)
			}
		}
	}
	return gates
}

// gateOf returns the gate that a call came to: that of the key which its session
// created meanwhile.
func gateOf(c call, gates []*gateLife) *gateLife {
	for _, g := range gates {
		for _, key := range g.came {
			var who struct{ Session string }
			if json.Unmarshal([]byte(key.Value), &who) == nil && who.Session == c.who && key.At >= c.begin && key.At <= c.end {
				return g
			}
		}
	}
	return nil
}

// checkActions: who passes does so after an action of that generation.
func checkActions(calls []call) (out []history.Violation) {
	actions := of(calls, "action")
	for _, c := range of(calls, "await") {
		done := slices.ContainsFunc(actions, func(a call) bool { return a.passed && a.generation == c.generation && a.end <= c.end })
		if c.passed && !done {
			out = append(out, history.Violation{Rule: "act", Name: "phases", At: c.end, Text: fmt.Sprintf("%v without its action", c)})
		}
	}
	return out
}

func checkLatches(calls []call, h history.History) (out []history.Violation) {
	made, open := map[string]int{}, map[string]bool{}
	openedAt := map[string]time.Duration{}
	for _, c := range h.Changes {
		rest, ok := strings.CutPrefix(c.Key, barriers+"latch/")
		name, key, _ := strings.Cut(rest, "/")
		if !ok {
			continue
		}
		var state struct{ Open bool }
		_ = json.Unmarshal([]byte(c.Value), &state)
		bad := ""
		switch {
		case key != "latch" && !c.Deleted:
			made[name]++
		case key == "latch" && open[name] && (c.Deleted || !state.Open):
			bad = "closed after it was open"
		case key == "latch" && state.Open && made[name] < parties:
			bad = fmt.Sprintf("open with %d contributions", made[name])
		}
		if key == "latch" && state.Open && !open[name] {
			open[name], openedAt[name] = true, c.At
		}
		if bad != "" {
			out = append(out, history.Violation{Rule: "B4", Name: name, At: c.At, Text: bad})
		}
	}
	for _, c := range of(calls, "latch") {
		if at, ok := openedAt[c.latch]; c.passed && (!ok || at > c.end) {
			out = append(out, history.Violation{Rule: "B4", Name: c.latch, At: c.end, Text: fmt.Sprintf("%v, but it was not open", c)})
		}
	}
	return out
}

// checkLiveness: in the quiet while something passes at every kind of barrier.
func checkLiveness(calls []call, end time.Duration) (out []history.Violation) {
	for _, what := range []string{"await", "enter", "leave", "wait", "latch"} {
		late := func(c call) bool { return c.passed && c.end > end-calm }
		if !slices.ContainsFunc(of(calls, what), late) {
			out = append(out, history.Violation{Rule: "live", Name: what, At: end - calm, Text: "nobody has passed for a minute"})
		}
	}
	return out
}
