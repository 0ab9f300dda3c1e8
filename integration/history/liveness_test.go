package history

import (
	"testing"
	"time"
)

func TestStarvation(t *testing.T) {
	check := func(h History) []Violation { return Starvation(h, 2*time.Second) }
	// b waits behind a, whose key is gone at second 10.
	next := func(s *story) (*Attempt, int64) {
		s.enqueue("a")
		asked := s.rec.Ask("b", lock)
		rev := s.enqueue("b")
		s.at(10)
		s.remove("a")
		return asked, rev
	}
	judge(t, "M5", check, []verdict{
		{"granted within the bound", false, func(s *story) {
			asked, rev := next(s)
			s.at(12)
			asked.Acquired(rev, rev)
			s.at(30)
		}},
		{"it did not wait any more", false, func(s *story) {
			asked, _ := next(s)
			asked.Failed(errAny)
			s.at(30)
		}},
		{"its key went away", false, func(s *story) {
			next(s)
			s.at(11)
			s.remove("b")
			s.at(30)
		}},
		{"it was cut off", false, func(s *story) {
			next(s)
			s.rec.Link("b", false)
			s.at(30)
			s.rec.Link("b", true)
			s.at(31)
		}},
		{"it was never connected for long enough", false, func(s *story) {
			next(s)
			for sec := 11.0; sec < 30; sec += 2 {
				s.at(sec)
				s.rec.Link("", false)
				s.at(sec + 0.5)
				s.rec.Link("", true)
			}
		}},
		{"another goroutine of the client owns by the key", false, func(s *story) {
			asked, rev := next(s)
			s.rec.Ask("b", lock)
			asked.Acquired(rev, rev)
			s.at(30)
		}},
		{"the key of nobody who is known", false, func(s *story) {
			s.rev++
			s.rec.change(Change{Key: "k", Name: lock, Created: s.rev, Revision: s.rev, Lease: 99})
			s.at(30)
		}},
		{"granted too late", true, func(s *story) {
			asked, rev := next(s)
			s.at(12.5)
			asked.Acquired(rev, rev)
		}},
		{"never granted", true, func(s *story) {
			next(s)
			s.at(30)
		}},
		{"connected again for long enough", true, func(s *story) {
			next(s)
			s.rec.Link("b", false)
			s.at(20)
			s.rec.Link("b", true)
			s.at(30)
		}},
		{"its attempts time out one after the other", true, func(s *story) {
			asked, _ := next(s)
			for sec := range 10 {
				s.at(11 + float64(sec))
				asked.Failed(errAny)
				asked = s.rec.Ask("b", lock)
			}
		}},
	})
}

func TestLeftovers(t *testing.T) {
	check := func(h History) []Violation { return Leftovers(h, 2*time.Second) }
	failed := func(s *story) {
		asked := s.rec.Ask("a", lock)
		s.enqueue("a")
		s.at(10)
		asked.Failed(errAny)
	}
	judge(t, "M6", check, []verdict{
		{"removed within the bound", false, func(s *story) {
			failed(s)
			s.at(12)
			s.remove("a")
			s.at(30)
		}},
		{"cut off", false, func(s *story) {
			failed(s)
			s.rec.Link("a", false)
			s.at(30)
		}},
		{"used by the next attempt", false, func(s *story) {
			failed(s)
			s.at(11)
			s.rec.Ask("a", lock)
			s.at(30)
		}},
		{"owned", false, func(s *story) {
			s.lock("a")
			s.at(30)
		}},
		{"Unlock is trying", false, func(s *story) {
			s.lock("a").Releasing()
			s.at(30)
		}},
		{"left by a failed Lock", true, func(s *story) {
			failed(s)
			s.at(30)
		}},
		{"left by a failed Unlock", true, func(s *story) {
			a := s.lock("a")
			a.Releasing()
			a.Released(errAny)
			s.at(30)
		}},
		{"left by a loss", true, func(s *story) {
			s.lock("a").Lost(errAny)
			s.at(30)
		}},
	})
}
