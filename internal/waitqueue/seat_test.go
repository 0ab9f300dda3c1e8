package waitqueue

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// refs counts who still has a hold on the seat.
type refs int

func (r *refs) one() func() {
	*r++
	return func() { *r-- }
}

func TestAKeptKeyGoesToWhoComesNext(t *testing.T) {
	var s seat
	var held refs
	c := &claim{}
	_, ok := s.tryTake(held.one())
	require.True(t, ok)
	_, ok = s.tryTake(held.one())
	require.False(t, ok, "the turn is taken")
	require.True(t, s.keep(c))
	require.True(t, s.keeps(c))
	require.Zero(t, held)
	got, _, err := s.take(context.Background(), held.one())
	require.NoError(t, err)
	require.Same(t, c, got)
	require.False(t, s.keeps(c))
}

func TestAKeyThatIsReclaimedWhileItIsKeptEndsThere(t *testing.T) {
	var s seat
	var held refs
	c := &claim{}
	s.tryTake(held.one())
	require.True(t, s.keep(c))
	require.True(t, s.reclaim(c, held.one()), "the turn is the keeper's")
	_, ok := s.tryTake(held.one())
	require.False(t, ok)
	s.leave()
	got, ok := s.tryTake(held.one())
	require.True(t, ok)
	require.Nil(t, got, "the next one has to enter")
}

// The keeper is called while somebody holds the key: it must not be kept at the
// release, because nobody looks after it any more.
func TestAKeyThatIsReclaimedWhileItIsHeldIsNotKeptAgain(t *testing.T) {
	var s seat
	var held refs
	c := &claim{}
	s.tryTake(held.one())
	require.False(t, s.reclaim(c, held.one()))
	require.False(t, s.keep(c))
	require.False(t, s.handOn(c))
	require.EqualValues(t, 1, held, "the turn is still the holder's")
	s.leave()
	require.Zero(t, held)
	got, _ := s.tryTake(held.one())
	require.Nil(t, got)
}
