package history

import (
	"fmt"
	"time"
)

// A Kind says what an event is about.
type Kind int

// What clients did and believed.
const (
	Asked     Kind = iota // Lock was called
	Failed                // Lock returned an error
	Acquired              // Lock returned ownership: belief begins
	Lost                  // the client was told that ownership is gone: belief ends
	Releasing             // Unlock is about to be called: belief ends
	Released              // Unlock returned; Text is its error
	Writing               // a guarded write is about to be sent
	Committed             // it was answered: done, at Revision
	Refused               // it was answered: not done
	Unknown               // it was not answered, or with an error that leaves it open
	Session               // the client has lease Lease from now on
	Down                  // the client, or with no name everybody, is cut off
	Up                    // and is connected again
)

var kindNames = [...]string{
	"asked", "failed", "acquired", "lost", "releasing", "released",
	"writing", "committed", "refused", "unknown", "session", "down", "up",
}

func (k Kind) String() string { return kindNames[k] }

// An Event is one line of a history as a client saw it.
type Event struct {
	Seq    int // place in the history, changes of the store included
	At     time.Duration
	Kind   Kind
	Client string
	Name   string // of the lock

	// Attempt numbers the call of Lock that the event belongs to.
	Attempt int
	// Token is the fencing token, from Acquired on.
	Token int64
	// Created is the create revision of the key behind the token.
	Created int64
	// Weight is how much of a shared lock was acquired, see Sharing.
	Weight int64
	// Mark is the value of a guarded write: no two are the same.
	Mark string
	// Revision is that of a Committed write.
	Revision int64
	Lease    int64
	Text     string // the error or the cause
}

func (e Event) String() string {
	s := fmt.Sprintf("#%d %v %s", e.Seq, e.At, e.Kind)
	if e.Client != "" {
		s += " by " + e.Client
	}
	if e.Name != "" {
		s += " on " + e.Name
	}
	if e.Token != 0 {
		s += fmt.Sprintf(" token %d", e.Token)
	}
	if e.Mark != "" {
		s += fmt.Sprintf(" mark %q", e.Mark)
	}
	if e.Revision != 0 {
		s += fmt.Sprintf(" revision %d", e.Revision)
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// A Change is one line of a history as the store saw it: a PUT or a DELETE.
type Change struct {
	Seq      int
	At       time.Duration
	Deleted  bool
	Key      string
	Name     string // of the lock that the key queues for; empty for other keys
	Value    string // of a PUT
	Created  int64  // create revision; of a DELETE, that of the key it removed
	Revision int64
	Lease    int64
}

func (c Change) String() string {
	verb := "PUT"
	if c.Deleted {
		verb = "DELETE"
	}
	return fmt.Sprintf("#%d %v %s %s revision %d created %d lease %x", c.Seq, c.At, verb, c.Key, c.Revision, c.Created, c.Lease)
}

// A History is everything that was recorded, in the order in which it was.
type History struct {
	Events  []Event
	Changes []Change
	// Gaps are what the observer of the store could not see. A history with
	// gaps proves nothing about the store.
	Gaps []string
	End  time.Duration
}

// Count tells how many events of a kind there are: a run in which nothing
// happened is no evidence.
func (h History) Count(k Kind) int {
	n := 0
	for _, e := range h.Events {
		if e.Kind == k {
			n++
		}
	}
	return n
}
