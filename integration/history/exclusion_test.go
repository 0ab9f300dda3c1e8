package history

import "testing"

func TestExclusion(t *testing.T) {
	judge(t, "M1", Exclusion, []verdict{
		{"one after the other", false, func(s *story) {
			s.at(1)
			a := s.lock("a")
			s.at(2)
			s.unlock("a", a)
			s.at(3)
			s.lock("b")
		}},
		{"release and next grant at the same instant", false, func(s *story) {
			a := s.lock("a")
			s.at(2)
			a.Releasing()
			s.lock("b")
			a.Released(nil)
		}},
		{"a loss that is recorded after the next grant at the same instant", false, func(s *story) {
			a := s.lock("a")
			s.at(2)
			s.lock("b")
			a.Lost(errAny)
		}},
		{"a grant that was void when it arrived", false, func(s *story) {
			s.lock("a")
			s.at(2)
			s.lock("b").Lost(errAny)
			s.at(3)
		}},
		{"two names", false, func(s *story) {
			s.rec.Ask("a", "x").Acquired(2, 2)
			s.rec.Ask("b", "y").Acquired(3, 3)
			s.at(1)
		}},
		{"both believe for a while", true, func(s *story) {
			a := s.lock("a")
			s.at(1)
			s.lock("b")
			s.at(2)
			a.Lost(errAny)
		}},
		{"nobody ever stops", true, func(s *story) {
			s.lock("a")
			s.at(1)
			s.lock("b")
			s.at(2)
		}},
		{"the same client twice", true, func(s *story) {
			s.lock("a")
			s.at(1)
			s.lock("a")
			s.at(2)
		}},
		{"for an instant within another's time", true, func(s *story) {
			s.lock("a")
			s.at(1)
			s.unlock("b", s.lock("b"))
			s.at(2)
		}},
		{"both within one instant", true, func(s *story) {
			a := s.lock("a")
			b := s.lock("b")
			s.unlock("a", a)
			s.unlock("b", b)
		}},
		{"the third while the first still believes", true, func(s *story) {
			s.lock("a")
			s.at(1)
			b := s.lock("b")
			b.Lost(errAny)
			s.at(2)
			s.lock("c")
			s.at(3)
		}},
	})
}

func TestTokenOrder(t *testing.T) {
	grant := func(s *story, token int64) *Belief { return s.rec.Ask("a", lock).Acquired(token, token) }
	judge(t, "M2", TokenOrder, []verdict{
		{"growing", false, func(s *story) {
			grant(s, 5).Releasing()
			grant(s, 6).Releasing()
			grant(s, 9)
		}},
		{"a grant that was void when it arrived", false, func(s *story) {
			grant(s, 6).Releasing()
			grant(s, 5).Lost(errAny)
		}},
		{"the same again", true, func(s *story) {
			grant(s, 5).Releasing()
			grant(s, 5)
		}},
		{"a smaller one", true, func(s *story) {
			grant(s, 5).Releasing()
			s.at(1)
			grant(s, 4)
		}},
	})
}
