package leaderworker

import (
	"encoding/json"
	"time"
)

// What the values in etcd say. They are JSON, so that people can read them with
// etcdctl.

// A memberRecord is a worker that is there.
type memberRecord struct {
	Run      string            `json:"run"` // tells two processes of one name apart
	Session  string            `json:"session"`
	Host     string            `json:"host"`
	PID      int               `json:"pid"`
	Since    time.Time         `json:"since"`
	Share    int               `json:"share"`
	Capacity int               `json:"capacity,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Leaving  bool              `json:"leaving,omitempty"`
	Overdue  []string          `json:"overdue,omitempty"` // shards whose Work does not return
}

// An assignedRecord is what a worker is to own.
type assignedRecord struct {
	Term   int64        `json:"term"` // the token of the leader that wrote it
	Shards []string     `json:"shards"`
	Moves  []moveRecord `json:"moves,omitempty"`
}

// A moveRecord says why some of the shards are there. It stays until the
// assignment is next written; a move is under way as long as the shard's owner
// is another one.
type moveRecord struct {
	Shards []string  `json:"shards"`
	From   string    `json:"from,omitempty"`
	Why    Reason    `json:"why"`
	Since  time.Time `json:"since"`
}

// An ownerRecord is the owner of a shard.
type ownerRecord struct {
	Worker string    `json:"worker"`
	Since  time.Time `json:"since"`
}

// A planRecord is what the leader has to say about the whole.
type planRecord struct {
	Leader   string     `json:"leader"`
	Term     int64      `json:"term"`
	Shards   int        `json:"shards"`
	Unplaced []Unplaced `json:"unplaced,omitempty"`
	More     int        `json:"more,omitempty"` // unplaced shards that are not listed
}

// encode is for records that are made of strings, numbers and times.
func encode(record any) string {
	text, err := json.Marshal(record)
	if err != nil {
		panic("leaderworker: encode a record: " + err.Error())
	}
	return string(text)
}

// stamp is a time as records have it.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
