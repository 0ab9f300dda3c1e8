package cron

import (
	"encoding/json"
	"slices"
	"time"
)

// A state is what is decided about one job, the value of its key in etcd. It
// changes by compare-and-swap only, so whatever it says was decided once.
type state struct {
	// Cursor is the last tick that was decided on. No tick up to it is ever
	// claimed again, whatever has become of its record.
	Cursor time.Time `json:"cursor"`
	Paused *Pause    `json:"paused,omitempty"`
	// Active are the runs that were claimed and have not ended. The claim of
	// each is a key of its own, under the lease of who runs it.
	Active []active `json:"active,omitempty"`
	// Waiting are the runs that are to be claimed as soon as they may.
	Waiting []waiting `json:"waiting,omitempty"`
	// Records are the ids of the records that exist, oldest first.
	Records []string `json:"records,omitempty"`
	// Dropped is the record that the next dropped ticks are added to. It ends
	// with the next run.
	Dropped *Record `json:"dropped,omitempty"`
}

type active struct {
	ID      string    `json:"id"`
	Tick    time.Time `json:"tick"`
	Manual  bool      `json:"manual,omitempty"`
	Claim   string    `json:"claim"` // differs for every attempt of every process
	Session string    `json:"session"`
	Since   time.Time `json:"since"`
	Attempt int       `json:"attempt"`
	Deaths  int       `json:"deaths,omitempty"` // attempts whose process died or was cut off
	// Returned: the claim was given back by a process that was told to stop.
	Returned bool     `json:"returned,omitempty"`
	From     []string `json:"from,omitempty"` // the sessions of earlier attempts
}

type waiting struct {
	ID     string    `json:"id"`
	Tick   time.Time `json:"tick"`
	Manual bool      `json:"manual,omitempty"`
}

// A Pause says since when a job is paused, by whom and why.
type Pause struct {
	Since  time.Time `json:"since"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
}

func (s state) clone() state {
	s.Active = slices.Clone(s.Active)
	s.Waiting = slices.Clone(s.Waiting)
	s.Records = slices.Clone(s.Records)
	if s.Dropped != nil {
		dropped := *s.Dropped
		s.Dropped = &dropped
	}
	return s
}

func (s state) encode() string { return encode(s) }

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("cron: encode: " + err.Error()) // strings, numbers and times
	}
	return string(text)
}

// tickFormat names ticks in UTC: of fixed width, so that names sort by time.
const tickFormat = "20060102T150405.000Z"

func tickID(tick time.Time) string { return tick.UTC().Format(tickFormat) }

// An Outcome is what has become of a tick.
type Outcome string

const (
	Running  Outcome = "running"    // claimed
	Done     Outcome = "done"       // Run returned nil
	Failed   Outcome = "failed"     // Run returned an error
	Lost     Outcome = "lost"       // given up after Job.Attempts processes died with it
	DropLate Outcome = "missed"     // dropped: too late, see Job.Missed
	DropBusy Outcome = "overlapped" // dropped: the run before went on, see Job.Overlap
)

// A Record says what has become of a tick, or of several in a row that were
// dropped for the same reason.
type Record struct {
	ID      string    `json:"id"`
	Job     string    `json:"-"`
	Tick    time.Time `json:"tick"` // for which it was; when it was triggered by hand
	Manual  bool      `json:"manual,omitempty"`
	Outcome Outcome   `json:"outcome"`

	// Of a run.
	Session  string        `json:"session,omitempty"` // whose attempt it is
	Attempt  int           `json:"attempt,omitempty"` // from 1
	From     []string      `json:"from,omitempty"`    // the sessions whose attempts ended without an outcome
	Started  time.Time     `json:"started,omitzero"`
	Duration time.Duration `json:"duration,omitempty"`
	Result   string        `json:"result,omitempty"` // see Run.SetResult
	Error    string        `json:"error,omitempty"`

	// Of dropped ticks.
	Through time.Time `json:"through,omitzero"` // the last of them
	Count   int       `json:"count,omitempty"`  // at least; what was missed at once is counted up to 1,000
}
