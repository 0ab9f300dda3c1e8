package election

import (
	"errors"
	"fmt"
	"slices"
)

// A succession is how the lead passes to a certain candidate: the keys of the
// leader and of those between are deleted in one transaction, so that the heir
// comes first and nobody leads in the meantime. Those between stand again at
// the end.
type succession struct {
	heir    Candidate
	between []Candidate
}

// errGone says that the leader's key is gone: the term is over, in whatever way.
var errGone = errors.New("the leader's key is gone")

// chosen decides whom the term passes to. name is whom the leader has chosen;
// without one it is the candidate of the highest rank, among equals the first,
// and the succession is nil if that is whoever is next anyway. The error
// matches ErrNotStanding, ErrBlocked or errGone.
func chosen(list []Candidate, leader int64, name string) (*succession, error) {
	own := slices.IndexFunc(list, func(c Candidate) bool { return c.Token == leader })
	if own < 0 {
		return nil, errGone
	}
	behind := list[own+1:]
	heir := best(behind)
	if name != "" {
		heir = slices.IndexFunc(behind, func(c Candidate) bool { return c.Name == name })
		if heir < 0 {
			return nil, fmt.Errorf("%w: %q among %d", ErrNotStanding, name, len(behind))
		}
	}
	if heir < 0 || heir == 0 && name == "" {
		return nil, nil
	}
	between := behind[:heir]
	if foreign := slices.IndexFunc(between, func(c Candidate) bool { return c.Foreign }); foreign >= 0 {
		return nil, fmt.Errorf("%w: key %q", ErrBlocked, between[foreign].Key)
	}
	return &succession{heir: behind[heir], between: between}, nil
}

// best is the candidate of the highest rank, among equals the first, as far as
// the lead can pass there: up to the first candidate of another program. It is
// -1 if there is none.
func best(list []Candidate) int {
	found := -1
	for i, c := range list {
		if found < 0 || c.Rank > list[found].Rank {
			found = i
		}
		if c.Foreign {
			break
		}
	}
	return found
}

// overtaken tells whether a candidate of a higher rank that does not wait is
// within reach of the leader.
func overtaken(list []Candidate, leader int64, rank int) bool {
	for _, c := range list {
		switch {
		case c.Token <= leader:
			continue
		case c.Foreign:
			return false
		case c.Rank > rank && !c.Waits:
			return true
		}
	}
	return false
}
