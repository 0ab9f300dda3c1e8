package history

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCheckRunsEveryChecker(t *testing.T) {
	h := tell(func(s *story) {
		// Two owners with one token, one of them without a key, who believe to
		// the end; a write that nobody stored, and one that was refused to the
		// owner; a waiter that nobody wakes, and the key of a failed Lock.
		a := s.lock("a")
		a.Write().Committed(99)
		a.Write().Refused()
		s.at(1)
		s.rec.Ask("b", lock).Acquired(2, 77)
		s.remove("a")
		s.rec.Ask("c", lock)
		s.enqueue("c")
		s.at(20)
		s.enqueue("b")
		s.rec.Ask("b", "other").Failed(errAny)
		s.rev++
		s.rec.change(Change{Key: "locks/other/b", Name: "other", Created: s.rev, Revision: s.rev, Lease: 2})
		s.at(40)
		s.rec.gap("somebody blinked")
	})
	found := Check(h, Bounds{Grant: time.Second, Settle: time.Second})
	rules := make(map[string]bool)
	for _, v := range found {
		rules[v.Rule] = true
	}
	for _, rule := range []string{"M1", "M2", "M3", "M4", "M5", "M6", "X1", "order", "blind"} {
		require.True(t, rules[rule], "%s is missing in\n%s", rule, Report(found))
	}
}

func TestAViolationIsReadable(t *testing.T) {
	h := tell(func(s *story) {
		a := s.lock("a")
		s.at(1.5)
		s.lock("b")
		s.at(2)
		a.Lost(errAny)
	})
	require.Equal(t, `M1 on "orders" at 1.5s: two believe: a with token 2 from 0s to 2s (lost); `+
		`and b with token 3 from 1.5s to the end`, Report(Exclusion(h)))
	require.Equal(t, "#4 0s asked by a on orders", h.Events[3].String())
	require.Equal(t, "#10 2s lost by a on orders token 2: any", h.Events[len(h.Events)-1].String())
	require.Equal(t, "#5 0s PUT locks/orders/a revision 2 created 2 lease 1", h.Changes[0].String())
}

func TestTheRecorderKeepsOneOrder(t *testing.T) {
	began := time.Now()
	rec := NewRecorder(func() time.Duration { return time.Since(began) })
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				b := rec.Ask("a", lock).Acquired(1, 1)
				b.Write().Unknown(errors.New("no answer"))
				b.Releasing()
				b.Lost(nil)
				b.Released(nil)
			}
		})
	}
	group.Wait()
	h := rec.History()
	require.Len(t, h.Events, 8*100*6)
	require.Zero(t, h.Count(Lost), "a loss after the release is none")
	for i, e := range h.Events {
		require.Equal(t, i+1, e.Seq)
		if i > 0 {
			require.GreaterOrEqual(t, e.At, h.Events[i-1].At)
		}
	}
}

func TestUnder(t *testing.T) {
	nameOf := Under("locks/")
	for key, name := range map[string]string{
		"locks/a/1":    "a",
		"locks/a/b/1f": "a/b",
		"locks/a":      "",
		"other/a/1":    "",
		"lock":         "",
	} {
		require.Equal(t, name, nameOf(key), key)
	}
}

func TestSpans(t *testing.T) {
	s := union(span{5, 7}, span{1, 2}, span{2, 3}, span{9, 9}, span{6, 8})
	require.Equal(t, spans{{1, 3}, {5, 8}}, s)
	require.Equal(t, spans{{0, 1}, {3, 5}, {8, 10}}, s.complement(10))
	require.Equal(t, spans{{2, 3}, {5, 6}}, s.and(spans{{2, 6}}))
	require.Equal(t, spans{{1, 2}, {6, 8}}, s.without(spans{{2, 6}}, 10))
	require.Empty(t, s.and(nil))
	require.Equal(t, s, s.without(nil, 10))
}
