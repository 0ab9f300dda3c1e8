package history

import (
	"testing"
	"time"
)

// Two of three fit beside each other; each key weighs as much as its belief.
func TestSharing(t *testing.T) {
	sharing := Sharing{Overlap: "S1", Order: "S2", Capacity: 2, Weigh: func(Change) int64 { return 1 }}
	check := func(h History) []Violation {
		return sharing.Check(h, Bounds{Grant: 5 * time.Second, Settle: 5 * time.Second})
	}
	hold := func(s *story, client string) *Belief {
		attempt := s.rec.Ask(client, lock).Weigh(1)
		rev := s.enqueue(client)
		return attempt.Acquired(rev, rev)
	}
	judge(t, "S1", sharing.overlaps, []verdict{
		{"two at a time", false, func(s *story) {
			a, b := hold(s, "a"), hold(s, "b")
			s.at(1)
			s.unlock("a", a)
			c := hold(s, "c")
			s.at(2)
			s.unlock("b", b)
			s.unlock("c", c)
		}},
		{"three at a time", true, func(s *story) {
			hold(s, "a")
			hold(s, "b")
			s.at(1)
			hold(s, "c")
			s.at(2)
		}},
		{"one that is too large", true, func(s *story) {
			s.rec.Ask("a", lock).Weigh(3).Acquired(2, 2)
			s.at(1)
		}},
	})
	judge(t, "S2", check, []verdict{
		{"in turn", false, func(s *story) {
			a, b := hold(s, "a"), hold(s, "b")
			waits := s.rec.Ask("c", lock).Weigh(1)
			rev := s.enqueue("c")
			s.at(1)
			s.unlock("a", a)
			c := waits.Acquired(rev, rev)
			s.at(2)
			s.unlock("b", b)
			s.unlock("c", c)
		}},
		{"before older keys have left room", true, func(s *story) {
			s.rec.Ask("a", lock)
			s.enqueue("a")
			s.rec.Ask("b", lock)
			s.enqueue("b")
			s.at(1)
			hold(s, "c")
			s.at(2)
		}},
		{"without a key", true, func(s *story) {
			s.rec.Ask("a", lock).Weigh(1).Acquired(7, 7)
			s.at(1)
		}},
	})
	judge(t, "M5", check, []verdict{
		{"room, and nobody takes it", true, func(s *story) {
			hold(s, "a")
			s.rec.Ask("b", lock).Weigh(1)
			s.enqueue("b")
			s.at(10)
		}},
	})
	judge(t, "M3", check, []verdict{
		{"a write while it holds", false, func(s *story) {
			a := hold(s, "a")
			w := a.Write()
			w.Committed(s.store(w))
			s.at(1)
			s.unlock("a", a)
		}},
		{"a write after the key is gone", true, func(s *story) {
			a := hold(s, "a")
			w := a.Write()
			s.at(1)
			s.unlock("a", a)
			w.Committed(s.store(w))
		}},
	})
}
