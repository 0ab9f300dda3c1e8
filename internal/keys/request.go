package keys

import (
	"encoding/json"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Request asks the session that owns a key to give it up. It is a key of its
// own below the session's, on the session's lease, so that it goes with it. The
// name says which key is wanted, and can be used again; the value says which
// one of that name, so that no later one is meant.
type Request struct {
	Key      string `json:"-"`        // that is wanted
	Revision int64  `json:"revision"` // its create revision
	Force    bool   `json:"force,omitempty"`
	By       string `json:"by"` // who wants it
}

// Requests is what the names of all requests to the session with this lease
// begin with.
func (s Space) Requests(lease clientv3.LeaseID) string { return s.Session(lease) + "/requests/" }

// Request is the name of a request for a key to the session with this lease.
func (s Space) Request(lease clientv3.LeaseID, key string) string { return s.Requests(lease) + key }

// SessionEnd is the end of the range that begins with the session's key and has
// nothing in it but that and what is below it. A prefix would not do: it has
// other leases in it that begin with the same digits.
func (s Space) SessionEnd(lease clientv3.LeaseID) string { return s.Session(lease) + "0" } // '/' + 1

// Value is what stands in a request's key.
func (r Request) Value() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic("keys: encode a request: " + err.Error()) // a number, a truth value and a string
	}
	return string(text)
}

// ParseRequest reads a request from a key below prefix, which is that of
// Requests. It returns false for anything else.
func ParseRequest(prefix, name string, value []byte) (Request, bool) {
	key, ok := strings.CutPrefix(name, prefix)
	r := Request{Key: key}
	if !ok || key == "" || json.Unmarshal(value, &r) != nil || r.Revision <= 0 {
		return Request{}, false
	}
	return r, true
}

// Covers tells whether another request adds nothing to this one.
func (r Request) Covers(other Request) bool {
	return r.Key == other.Key && r.Revision == other.Revision && (r.Force || !other.Force)
}
