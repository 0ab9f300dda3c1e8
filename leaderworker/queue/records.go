package queue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// A task is what its key in tasks/ tells, and is not written again: the header,
// and the payload behind it.
type task struct {
	Priority int       `json:"priority"`
	Enqueued time.Time `json:"enqueued"`
	Dedupe   string    `json:"dedupe,omitempty"`

	id      string
	delay   time.Duration
	payload []byte
}

// An entry is the value of a task's key in its shard: what has become of it so
// far. Every claim counts a try, in the transaction that makes it.
type entry struct {
	Tries int    `json:"tries,omitempty"`
	Error string `json:"error,omitempty"` // of the last try that failed
}

// A claim is the value of the key that says who has a task. The key hangs on
// the lease of the consumer's session; its create revision is the token.
type claim struct {
	Claim    string    `json:"claim"` // differs for every attempt of every process
	Session  string    `json:"session"`
	Since    time.Time `json:"since"`
	Progress string    `json:"progress,omitempty"`
	Slot     int       `json:"slot,omitempty"` // from 1; 0 if there is no bound
}

// An outcome is what is kept of a task that is done or was cancelled: this
// header, and the result behind it.
type outcome struct {
	State   State     `json:"state"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"` // when it is forgotten
	Tries   int       `json:"tries"`
	Token   int64     `json:"token,omitempty"` // of the claim that it was done under
	Session string    `json:"session,omitempty"`
	Dedupe  string    `json:"dedupe,omitempty"`
}

// A dead is what is known of a dead letter.
type dead struct {
	At       time.Time `json:"at"`
	Priority int       `json:"priority"`
	Tries    int       `json:"tries"`
	Error    string    `json:"error"`
}

// header writes a JSON header and what comes behind it.
func header(v any, body []byte) string {
	return encode(v) + "\n" + string(body)
}

func parseHeader(value []byte, v any) (body []byte, err error) {
	head, body, ok := bytes.Cut(value, []byte("\n"))
	if !ok {
		return nil, fmt.Errorf("queue: a value without a header")
	}
	if err := json.Unmarshal(head, v); err != nil {
		return nil, fmt.Errorf("queue: a header: %w", err)
	}
	return body, nil
}

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("queue: encode: " + err.Error()) // strings, numbers and times
	}
	return string(text)
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
