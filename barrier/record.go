package barrier

import (
	"encoding/json"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// A presence is the value of a party's key, and that of a gate, which is its
// keeper's.
type presence struct {
	Party
	Key     string `json:"key"`               // the party's key, which tells it from all others
	Parties int    `json:"parties"`           // how many the party expects
	Leaving bool   `json:"leaving,omitempty"` // Double: it has come to the exit
}

// A record is what has been decided at a barrier. It is replaced as a whole,
// in transactions that compare its mod revision, so each decision is taken
// once.
type record struct {
	Generation int64    `json:"generation"`       // how many have passed
	Inside     int      `json:"inside,omitempty"` // Double: how many are inside, by the last decision
	Opened     *opening `json:"opened,omitempty"` // the last one
	Broken     *breach  `json:"broken,omitempty"` // the last one
}

// An opening let the parties of a gate pass.
type opening struct {
	After int64 `json:"after"` // mod revision of the record that it replaced
	Gate  int64 `json:"gate"`  // create revision of the gate
	Last  int64 `json:"last"`  // the revision at which the last party came that was let in
}

// A breach sent the parties of a gate away.
type breach struct {
	After  int64  `json:"after"`
	Gate   int64  `json:"gate"`
	By     Party  `json:"by"`
	Key    string `json:"key,omitempty"` // that party's key
	Reason Reason `json:"reason"`
	Text   string `json:"text,omitempty"`
}

// An entered is a party as the roll of those inside has it.
type entered struct {
	Party
	Key    string `json:"key"`
	Create int64  `json:"create"`
}

// decode reads a value that this package wrote. What another program wrote
// decodes to as much as can be understood of it.
func decode[T any](kv *mvccpb.KeyValue) T {
	var v T
	_ = json.Unmarshal(kv.Value, &v)
	return v
}
