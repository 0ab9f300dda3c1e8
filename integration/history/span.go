package history

import (
	"cmp"
	"slices"
	"time"
)

// A span is the time from one instant up to, and without, another. Spans that
// only touch do not overlap: in virtual time a release and the next grant
// happen at the same instant.
type span struct{ from, to time.Duration }

func (s span) length() time.Duration { return s.to - s.from }

// spans are in order, not empty and do not touch.
type spans []span

// union brings spans into order and joins those that overlap or touch.
func union(list ...span) spans {
	list = slices.DeleteFunc(slices.Clone(list), func(s span) bool { return s.length() <= 0 })
	slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var out spans
	for _, s := range list {
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

// and is the time that lies in both.
func (a spans) and(b spans) spans {
	var out spans
	for len(a) > 0 && len(b) > 0 {
		if s := (span{max(a[0].from, b[0].from), min(a[0].to, b[0].to)}); s.length() > 0 {
			out = append(out, s)
		}
		if a[0].to < b[0].to {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// without is the time that lies in a and not in b.
func (a spans) without(b spans, end time.Duration) spans { return a.and(b.complement(end)) }

// complement is the time from 0 to end that does not lie in a.
func (a spans) complement(end time.Duration) spans {
	var out spans
	at := time.Duration(0)
	for _, s := range a {
		if s.from > at {
			out = append(out, span{at, s.from})
		}
		at = s.to
	}
	if end > at {
		out = append(out, span{at, end})
	}
	return out
}
