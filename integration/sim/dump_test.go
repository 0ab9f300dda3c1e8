package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gotenure/tenure/integration/history"
)

// around is what happened within a few seconds of a violation, clients and
// store together.
func around(h history.History, at time.Duration) string {
	type line struct {
		seq  int
		text string
	}
	var lines []line
	near := func(t time.Duration) bool { return t > at-8*time.Second && t < at+5*time.Second }
	for _, e := range h.Events {
		if near(e.At) {
			lines = append(lines, line{e.Seq, e.String()})
		}
	}
	for _, c := range h.Changes {
		if near(c.At) {
			lines = append(lines, line{c.Seq, c.String()})
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Compare(a.seq, b.seq) })
	var out strings.Builder
	for _, l := range lines {
		fmt.Fprintln(&out, l.text)
	}
	return out.String()
}
