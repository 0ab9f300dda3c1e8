package history

import "testing"

func TestLinearizable(t *testing.T) {
	judge(t, "order", Linearizable, []verdict{
		{"lock, write, unlock, twice", false, func(s *story) {
			for _, client := range []string{"a", "b"} {
				b := s.lock(client)
				b.Write().Committed(0)
				s.unlock(client, b)
			}
		}},
		{"the next grant overlaps with Unlock", false, func(s *story) {
			a := s.lock("a")
			a.Releasing()
			s.lock("b")
			a.Released(nil)
		}},
		{"the lease expired at some time", false, func(s *story) {
			a := s.lock("a")
			a.Write().Committed(0)
			b := s.lock("b")
			a.Write().Refused()
			a.Lost(errAny)
			s.unlock("b", b)
		}},
		{"Unlock failed and was done nevertheless", false, func(s *story) {
			a := s.lock("a")
			a.Releasing()
			a.Released(errAny)
			s.lock("b")
		}},
		{"Unlock failed and was not done until later", false, func(s *story) {
			a := s.lock("a")
			late := a.Write()
			a.Releasing()
			a.Released(errAny)
			late.Committed(0)
			s.lock("b")
		}},
		{"Unlock after the loss", false, func(s *story) {
			a := s.lock("a")
			a.Lost(errAny)
			b := s.lock("b")
			s.unlock("a", a)
			b.Write().Committed(0)
		}},
		{"an unknown write", false, func(s *story) {
			a := s.lock("a")
			a.Write().Unknown(errAny)
			s.unlock("a", a)
		}},
		{"the owner was refused", true, func(s *story) {
			a := s.lock("a")
			a.Write().Refused()
			s.unlock("a", a)
		}},
		{"a write was done after Unlock", true, func(s *story) {
			a := s.lock("a")
			s.unlock("a", a)
			a.Write().Committed(0)
		}},
		{"the old owner wrote after the new one", true, func(s *story) {
			a := s.lock("a")
			b := s.lock("b")
			b.Write().Committed(0)
			a.Write().Committed(0)
		}},
		{"granted before Unlock was called", true, func(s *story) {
			a := s.lock("a")
			s.lock("b")
			s.unlock("a", a)
		}},
		{"a token that is not larger", true, func(s *story) {
			for range 2 {
				a := s.rec.Ask("a", lock).Acquired(5, 5)
				a.Releasing()
				a.Released(nil)
			}
		}},
	})
}
