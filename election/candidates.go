package election

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
)

// A Candidate is somebody who leads or stands.
type Candidate struct {
	// Name is that of the candidate's session, which Transfer goes by. Of a
	// candidate of another program it is the lease in hexadecimal.
	Name    string
	Host    string
	PID     int
	Since   time.Time // by the clock of the candidate's machine: when it stood
	Rank    int       // see Priority
	Waits   bool      // see Priority.Wait
	Foreign bool      // another program put the key there

	Value []byte // what it proclaims, or will when it leads
	Key   string
	Lease clientv3.LeaseID
	Token int64 // the fencing token that its term has or will have
}

// description is what a candidate says about itself, in a key of its own: the
// value of its place in the queue is what it proclaims.
type description struct {
	Session string    `json:"session"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	Rank    int       `json:"rank,omitempty"`
	Waits   bool      `json:"waits,omitempty"`
}

func (e *Election) describe(now time.Time) string {
	text, err := json.Marshal(description{
		Session: e.session.Name(),
		Host:    host(),
		PID:     os.Getpid(),
		Since:   now.UTC().Truncate(time.Millisecond),
		Rank:    e.opts.priority.Rank,
		Waits:   e.opts.priority.Wait,
	})
	if err != nil {
		panic("election: describe a candidate: " + err.Error()) // strings and numbers
	}
	return string(text)
}

var host = sync.OnceValue(func() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
})

// Candidates returns who leads and who stands, the leader first and the others
// in the order in which they came; it is empty if nobody does. It costs one
// linearizable read of two ranges.
func (o *Observer) Candidates(ctx context.Context) ([]Candidate, error) {
	if o.err != nil {
		return nil, o.err
	}
	list, err := o.list(ctx)
	return list, o.explain(err)
}

func (o *Observer) list(ctx context.Context) ([]Candidate, error) {
	resp, err := o.client.Txn(ctx).Then(
		clientv3.OpGet(o.prefix, clientv3.WithPrefix()),
		clientv3.OpGet(o.about, clientv3.WithPrefix()),
	).Commit()
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", o.prefix, err)
	}
	// A description is that of the key which was created in the same revision.
	// Any other is of an earlier candidacy.
	said := make(map[clientv3.LeaseID]description)
	wrote := make(map[clientv3.LeaseID]int64)
	for _, kv := range resp.Responses[1].GetResponseRange().Kvs {
		var d description
		if json.Unmarshal(kv.Value, &d) == nil && d.Session != "" {
			said[clientv3.LeaseID(kv.Lease)], wrote[clientv3.LeaseID(kv.Lease)] = d, kv.ModRevision
		}
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	list := make([]Candidate, len(kvs))
	for i, kv := range kvs {
		c := Candidate{Key: string(kv.Key), Lease: clientv3.LeaseID(kv.Lease), Token: kv.CreateRevision, Value: kv.Value}
		if wrote[c.Lease] == kv.CreateRevision && c.Key == keys.Member(o.prefix, c.Lease) {
			d := said[c.Lease]
			c.Name, c.Host, c.PID, c.Since, c.Rank, c.Waits = d.Session, d.Host, d.PID, d.Since, d.Rank, d.Waits
		} else {
			c.Foreign = true
			c.Name = strconv.FormatInt(int64(c.Lease), 16)
		}
		list[i] = c
	}
	slices.SortFunc(list, func(a, b Candidate) int { return cmp.Compare(a.Token, b.Token) })
	return list, nil
}
