package waitqueue

import (
	"container/list"
	"context"
	"sync"
)

// A seat is what the goroutines of one session share of one queue: the order
// among themselves, and the key that they own or wait with. Whoever has the
// turn is the only one that touches the key.
type seat struct {
	mu      sync.Mutex
	taken   bool      // a goroutine has the turn
	ref     func()    // lets go of the seat for whoever has the turn
	waiters list.List // of ticket
	kept    *claim    // an owned key that nobody holds at present; the turn is free
}

// A ticket gets the turn, and with it an owned key if the one before could hand
// it on.
type ticket chan *claim

// take waits for the turn. With it may come an owned key. ahead is how many had
// or waited for the turn before. ref is called when the turn ends, or at once if
// it does not come.
func (s *seat) take(ctx context.Context, ref func()) (_ *claim, ahead int, _ error) {
	s.mu.Lock()
	if !s.taken {
		defer s.mu.Unlock()
		return s.sit(ref), 0, nil
	}
	t := make(ticket, 1)
	place := s.waiters.PushBack(t)
	ahead = s.waiters.Len()
	s.mu.Unlock()
	select {
	case c := <-t:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ref = ref
		return c, ahead, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case c := <-t: // the turn came at the same time: better take it than lose it
		s.ref = ref
		return c, ahead, nil
	default:
		s.waiters.Remove(place)
		ref()
		return nil, ahead, context.Cause(ctx)
	}
}

// tryTake takes the turn if it is free.
func (s *seat) tryTake(ref func()) (c *claim, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken {
		ref()
		return nil, false
	}
	return s.sit(ref), true
}

// sit must be called with mu held, and the turn free.
func (s *seat) sit(ref func()) *claim {
	c := s.kept
	s.taken, s.kept, s.ref = true, nil, ref
	return c
}

// wanted tells whether somebody waits for the turn.
func (s *seat) wanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiters.Len() > 0
}

// leave ends the caller's turn.
func (s *seat) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ref()
	if s.waiters.Len() > 0 {
		s.next() <- nil
		return
	}
	s.taken = false
}

// handOn gives the turn, and c, to the first who waits. If nobody does, or c was
// reclaimed, the caller keeps both.
func (s *seat) handOn(c *claim) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiters.Len() == 0 || c.reclaimed {
		return false
	}
	s.ref()
	s.next() <- c
	return true
}

// keep ends the caller's turn and leaves c for whoever comes next, or hands
// both on at once. It returns false, and the caller keeps both, if c was
// reclaimed: the two are decided under one lock, so neither is missed.
func (s *seat) keep(c *claim) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.reclaimed {
		return false
	}
	s.ref()
	if s.waiters.Len() > 0 {
		s.next() <- c
		return true
	}
	s.taken, s.kept = false, c
	return true
}

// keeps tells whether c is kept at present.
func (s *seat) keeps(c *claim) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept == c
}

// reclaim says that c must not be kept any more. If it is kept at present, the
// caller gets the turn and with it c; otherwise its holder will find out.
func (s *seat) reclaim(c *claim, ref func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.reclaimed = true
	if s.kept != c {
		ref()
		return false
	}
	s.sit(ref)
	return true
}

// next must be called with mu held, and somebody waiting.
func (s *seat) next() ticket { return s.waiters.Remove(s.waiters.Front()).(ticket) }
