package history

import "testing"

func TestGrantOrder(t *testing.T) {
	judge(t, "M4", GrantOrder, []verdict{
		{"in the order of the queue", false, func(s *story) {
			a := s.lock("a")
			asked := s.rec.Ask("b", lock)
			rev := s.enqueue("b")
			s.at(1)
			s.unlock("a", a)
			asked.Acquired(rev, rev)
		}},
		{"after a waiter before it has gone", false, func(s *story) {
			a := s.lock("a")
			s.enqueue("b")
			asked := s.rec.Ask("c", lock)
			rev := s.enqueue("c")
			s.at(1)
			s.remove("b")
			s.at(2)
			s.unlock("a", a)
			asked.Acquired(rev, rev)
		}},
		{"before a waiter that came first", true, func(s *story) {
			a := s.lock("a")
			s.enqueue("b")
			asked := s.rec.Ask("c", lock)
			rev := s.enqueue("c")
			s.at(1)
			s.unlock("a", a)
			asked.Acquired(rev, rev)
			s.at(2)
			s.remove("b")
		}},
		{"while the owner's key is there", true, func(s *story) {
			s.enqueue("a")
			s.at(1)
			s.lock("b")
			s.at(2)
		}},
		{"without a key", true, func(s *story) {
			s.rec.Ask("a", lock).Acquired(7, 7)
			s.at(1)
		}},
	})
}

func TestLeaseSafety(t *testing.T) {
	judge(t, "X1", LeaseSafety, []verdict{
		{"told before", false, func(s *story) {
			a := s.lock("a")
			s.at(1)
			a.Lost(errAny)
			s.at(2)
			s.remove("a")
		}},
		{"told at the instant", false, func(s *story) {
			a := s.lock("a")
			s.at(1)
			s.remove("a")
			a.Lost(errAny)
		}},
		{"released", false, func(s *story) {
			a := s.lock("a")
			s.at(1)
			s.unlock("a", a)
		}},
		{"still held", false, func(s *story) {
			s.lock("a")
			s.at(1)
		}},
		{"told too late", true, func(s *story) {
			a := s.lock("a")
			s.at(1)
			s.remove("a")
			s.at(1.001)
			a.Lost(errAny)
		}},
		{"released when it was long gone", true, func(s *story) {
			a := s.lock("a")
			s.at(1)
			s.remove("a")
			s.at(2)
			a.Releasing()
		}},
		{"never told", true, func(s *story) {
			s.lock("a")
			s.at(1)
			s.remove("a")
			s.at(2)
		}},
		{"granted when it was gone", true, func(s *story) {
			asked := s.rec.Ask("a", lock)
			rev := s.enqueue("a")
			s.at(1)
			s.remove("a")
			s.at(2)
			asked.Acquired(rev, rev)
			s.at(3)
		}},
	})
}

func TestGuardedWrites(t *testing.T) {
	judge(t, "M3", GuardedWrites, []verdict{
		{"done and answered by the owner", false, func(s *story) {
			a := s.lock("a")
			w := a.Write()
			w.Committed(s.store(w))
			s.unlock("a", a)
		}},
		{"refused after the loss", false, func(s *story) {
			a := s.lock("a")
			w := a.Write()
			s.remove("a")
			w.Refused()
		}},
		{"unknown and not done", false, func(s *story) {
			a := s.lock("a")
			w := a.Write()
			s.unlock("a", a)
			w.Unknown(errAny)
		}},
		{"unknown and done in time", false, func(s *story) {
			a := s.lock("a")
			w := a.Write()
			s.store(w)
			w.Unknown(errAny)
			s.unlock("a", a)
		}},
		{"done after the key was gone", true, func(s *story) {
			w := s.lock("a").Write()
			s.remove("a")
			w.Committed(s.store(w))
		}},
		{"unknown and done after the key was gone", true, func(s *story) {
			w := s.lock("a").Write()
			s.remove("a")
			s.store(w)
			w.Unknown(errAny)
		}},
		{"done before it owned", true, func(s *story) {
			s.enqueue("a")
			w := s.lock("b").Write()
			w.Committed(s.store(w))
			s.remove("a")
		}},
		{"done without a key", true, func(s *story) {
			w := s.rec.Ask("a", lock).Acquired(7, 7).Write()
			w.Committed(s.store(w))
		}},
		{"answered as done and not in the store", true, func(s *story) {
			s.lock("a").Write().Committed(9)
		}},
		{"answered as refused and in the store", true, func(s *story) {
			w := s.lock("a").Write()
			s.store(w)
			w.Refused()
		}},
	})
}
