package history

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A story makes a history by hand: it turns the clock and lets clients and the
// store do things.
type story struct {
	rec  *Recorder
	time time.Duration
	keys map[string]Change // alive, by client
	rev  int64
}

var errAny = errors.New("any")

const lock = "orders"

// tell returns the history of what f lets happen. Clients a, b and c have the
// leases 1, 2 and 3.
func tell(f func(s *story)) History {
	s := &story{keys: make(map[string]Change), rev: 1}
	s.rec = NewRecorder(func() time.Duration { return s.time })
	for i, client := range []string{"a", "b", "c"} {
		s.rec.Session(client, int64(i+1))
	}
	f(s)
	return s.rec.History()
}

// at turns the clock to a second.
func (s *story) at(seconds float64) { s.time = time.Duration(seconds * float64(time.Second)) }

// enqueue puts a key for the client and returns its create revision.
func (s *story) enqueue(client string) int64 {
	s.rev++
	c := Change{
		Key: "locks/" + lock + "/" + client, Name: lock, Created: s.rev, Revision: s.rev,
		Lease: int64(client[0]-'a') + 1,
	}
	s.keys[client] = c
	s.rec.change(c)
	return s.rev
}

// remove deletes the client's key.
func (s *story) remove(client string) {
	s.rev++
	c := s.keys[client]
	delete(s.keys, client)
	c.Deleted, c.Revision = true, s.rev
	s.rec.change(c)
}

// lock lets the client ask, queue up and be granted at once.
func (s *story) lock(client string) *Belief {
	attempt := s.rec.Ask(client, lock)
	rev := s.enqueue(client)
	return attempt.Acquired(rev, rev)
}

// unlock lets the client release, and the store delete its key.
func (s *story) unlock(client string, b *Belief) {
	b.Releasing()
	s.remove(client)
	b.Released(nil)
}

// store carries a guarded write out.
func (s *story) store(w *Write) int64 {
	s.rev++
	s.rec.change(Change{Key: "data", Value: w.Mark(), Created: s.rev, Revision: s.rev})
	return s.rev
}

// A verdict is a story and whether the checker has to complain.
type verdict struct {
	name string
	bad  bool
	tell func(s *story)
}

func judge(t *testing.T, rule string, check func(History) []Violation, verdicts []verdict) {
	t.Helper()
	for _, v := range verdicts {
		t.Run(v.name, func(t *testing.T) {
			found := check(tell(v.tell))
			if !v.bad {
				require.Empty(t, found, Report(found))
				return
			}
			require.NotEmpty(t, found)
			for _, f := range found {
				require.Equal(t, rule, f.Rule)
				require.Equal(t, lock, f.Name)
			}
		})
	}
}
