package history

import (
	"fmt"
	"slices"
)

// Exclusion checks M1: no two beliefs of one name overlap. It needs no observer.
func Exclusion(h History) []Violation {
	var out []Violation
	for name, beliefs := range sorted(h.beliefs()) {
		var open []belief
		for _, b := range beliefs {
			if b.empty() {
				continue
			}
			open = slices.DeleteFunc(open, func(a belief) bool { return a.endsBefore(b.acquired) })
			for _, a := range open {
				out = append(out, Violation{
					Rule: "M1", Name: name, At: b.acquired.At,
					Text: fmt.Sprintf("two believe: %v; and %v", a, b),
				})
			}
			open = append(open, b)
		}
	}
	return out
}

// endsBefore tells whether the belief was over when the other one began.
func (b belief) endsBefore(other Event) bool {
	switch {
	case b.end == nil:
		return false
	case b.end.Kind == Releasing:
		// Recorded before Unlock was called, so the order of the records is
		// the order of the world, within one instant too.
		return b.end.Seq < other.Seq
	default:
		// A loss is recorded by whoever is woken by it, perhaps after the next
		// owner at the same instant.
		return b.end.At <= other.At
	}
}

// TokenOrder checks M2: the tokens of successive grants of one name strictly
// increase. It needs no observer.
func TokenOrder(h History) []Violation {
	var out []Violation
	for name, beliefs := range sorted(h.beliefs()) {
		var last *belief
		for i, b := range beliefs {
			if b.empty() {
				continue
			}
			if last != nil && b.acquired.Token <= last.acquired.Token {
				out = append(out, Violation{
					Rule: "M2", Name: name, At: b.acquired.At,
					Text: fmt.Sprintf("a token does not exceed the one before: %v; then %v", last, b),
				})
			}
			last = &beliefs[i]
		}
	}
	return out
}
