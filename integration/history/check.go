package history

import (
	"fmt"
	"strings"
	"time"
)

// A Violation is something that must never happen and did.
type Violation struct {
	Rule string // as in doc.go: M1 to M6, X1, or "blind"
	Name string // of the lock
	At   time.Duration
	Text string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s on %q at %v: %s", v.Rule, v.Name, v.At, v.Text)
}

// Bounds are the times within which things have to happen, each counted while
// the client is connected without a break.
type Bounds struct {
	// Grant is how long a waiter may have the oldest key and not be granted.
	Grant time.Duration
	// Settle is how long a key may live that its client neither waits with,
	// nor owns by, nor is releasing.
	Settle time.Duration
}

// Check runs every checker. A history that proves nothing because its observer
// missed something is a violation too.
func Check(h History, b Bounds) []Violation {
	var out []Violation
	for _, gap := range h.Gaps {
		out = append(out, Violation{Rule: "blind", At: h.End, Text: gap})
	}
	out = append(out, Exclusion(h)...)
	out = append(out, TokenOrder(h)...)
	out = append(out, GuardedWrites(h)...)
	out = append(out, GrantOrder(h)...)
	out = append(out, Starvation(h, b.Grant)...)
	out = append(out, Leftovers(h, b.Settle)...)
	out = append(out, LeaseSafety(h)...)
	out = append(out, Linearizable(h)...)
	return out
}

// Report puts violations into lines, for a test to print.
func Report(violations []Violation) string {
	lines := make([]string, len(violations))
	for i, v := range violations {
		lines[i] = v.String()
	}
	return strings.Join(lines, "\n")
}
