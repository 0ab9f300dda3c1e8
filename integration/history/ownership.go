package history

import "fmt"

// GrantOrder checks M4: a client is granted only what its key owns, that is
// when no older key of the name is left.
func GrantOrder(h History) []Violation {
	var out []Violation
	keys := h.keys()
	for name, beliefs := range sorted(h.beliefs()) {
		for _, b := range beliefs {
			if b.empty() {
				continue
			}
			k, ok := keyOf(keys[name], b.acquired.Created)
			switch {
			case !ok:
				out = append(out, Violation{
					Rule: "M4", Name: name, At: b.acquired.At,
					Text: fmt.Sprintf("no key was ever created at revision %d: %v", b.acquired.Created, b),
				})
			case b.acquired.At < k.owns:
				out = append(out, Violation{
					Rule: "M4", Name: name, At: b.acquired.At,
					Text: fmt.Sprintf("granted before older keys were gone at %v: %v, %v", k.owns, b, k),
				})
			}
		}
	}
	return out
}

// LeaseSafety checks X1: a client is told of the loss before its key is
// deleted, or at the latest at that instant. So nobody may delete keys of
// others in a history that is checked.
func LeaseSafety(h History) []Violation {
	var out []Violation
	keys := h.keys()
	for name, beliefs := range sorted(h.beliefs()) {
		for _, b := range beliefs {
			k, ok := keyOf(keys[name], b.acquired.Created)
			if ok && !b.empty() && b.span.to > k.gone {
				out = append(out, Violation{
					Rule: "X1", Name: name, At: k.gone,
					Text: fmt.Sprintf("believed for %v after the key was deleted: %v", b.span.to-k.gone, b),
				})
			}
		}
	}
	return out
}

// GuardedWrites checks M3: a guarded write was done only while the key of its
// token owned the lock, by revisions of the store. What the client does not
// know about its write is looked up there.
func GuardedWrites(h History) []Violation {
	var out []Violation
	keys := h.keys()
	stored := make(map[string]Change)
	for _, c := range h.Changes {
		if !c.Deleted && c.Value != "" {
			stored[c.Value] = c
		}
	}
	complain := func(e Event, format string, args ...any) {
		out = append(out, Violation{Rule: "M3", Name: e.Name, At: e.At, Text: fmt.Sprintf(format, args...)})
	}
	for _, e := range h.Events {
		in, done := stored[e.Mark]
		switch e.Kind {
		case Writing:
			if !done {
				continue
			}
			k, ok := keyOf(keys[e.Name], e.Created)
			if !ok || in.Revision < k.ownsRev || in.Revision > k.goneRev {
				complain(e, "a write was done at revision %d, outside of its ownership (revisions %s): %v",
					in.Revision, k.revisions(ok), e)
			}
		case Committed:
			if !done || in.Revision != e.Revision {
				complain(e, "a write was answered as done and is not in the store: %v", e)
			}
		case Refused:
			if done {
				complain(e, "a write was answered as refused and was done at revision %d: %v", in.Revision, e)
			}
		}
	}
	return out
}

// revisions tells when the key owned, for a reader.
func (k key) revisions(known bool) string {
	switch {
	case !known || k.ownsRev == never:
		return "none"
	case k.goneRev == never:
		return fmt.Sprintf("from %d", k.ownsRev)
	default:
		return fmt.Sprintf("%d to %d", k.ownsRev, k.goneRev)
	}
}
