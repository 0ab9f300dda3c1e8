package election

import "fmt"

// A Kind says what an Event is about.
type Kind int

// What an observer is told.
const (
	// Elected: a term has begun; the one before, if any, is over.
	Elected Kind = iota + 1
	// Changed: the leader proclaims another value.
	Changed
	// Vacant: nobody leads.
	Vacant
	// Gap: terms and values may have come and gone unseen after the Revision of
	// this event, because etcd has forgotten them or the reader was too slow.
	// What holds at present follows.
	Gap
)

var kindNames = map[Kind]string{Elected: "elected", Changed: "changed", Vacant: "vacant", Gap: "gap"}

func (k Kind) String() string { return kindNames[k] }

// An Event is something that happened in an election, as etcd's revisions tell
// it. It needs a reader's care that the value may be shared: do not change it.
type Event struct {
	Kind   Kind
	Leader // of Elected and Changed

	// Revision is that of etcd's store up to which the reader has been told
	// everything, see After. For a change that was seen as it happened it is the
	// one of the change.
	Revision int64
}

func (e Event) String() string {
	switch e.Kind {
	case Elected, Changed:
		return fmt.Sprintf("%v at revision %d: %q, token %d", e.Kind, e.Revision, e.Value, e.Token)
	}
	return fmt.Sprintf("%v at revision %d", e.Kind, e.Revision)
}
