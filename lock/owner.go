package lock

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/admission"
	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/waitqueue"
)

// An Owner is what a key in a lock's queue tells about who put it there.
type Owner struct {
	Session string    `json:"session"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"` // by the clock of the owner's machine: when it queued up
}

// An Entry is a holder or waiter of a lock.
type Entry struct {
	// Owner is empty if another program put the key there.
	Owner Owner
	// Foreign is the value of a key that another program put there.
	Foreign  []byte
	Key      string
	Lease    clientv3.LeaseID
	Holds    bool  // it holds the lock, or is just finding out that it does
	Write    bool  // of a reader-writer lock: it writes or waits to write
	Permits  int64 // of a semaphore: so many
	Revision int64 // the key's create revision, which orders the queue
	Token    int64 // the fencing token that the first hold of the key has or will have
}

// Queue returns who holds the lock and who waits, the holder first; it is
// empty if the lock is free. The goroutines that wait in the local queue of a
// session have one place together. It costs one linearizable range.
func (m *Mutex) Queue(ctx context.Context) ([]Entry, error) {
	if m.err != nil {
		return nil, m.err
	}
	return queue(ctx, m.session.Client(), m.Prefix(), m.name)
}

// Queue returns what Mutex.Queue does, for those who only want to look and have
// no session. The namespace "" is the default one.
func Queue(ctx context.Context, client *clientv3.Client, namespace, name string, at ...AddressOption) ([]Entry, error) {
	space, err := keys.NewSpace(cmp.Or(namespace, keys.DefaultNamespace))
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	o := resolve(space, name, at)
	if o.err != nil {
		return nil, o.err
	}
	return queue(ctx, client, o.prefix, name)
}

func queue(ctx context.Context, client *clientv3.Client, prefix, name string) ([]Entry, error) {
	members, err := waitqueue.List(ctx, client, prefix)
	if err != nil {
		return nil, fmt.Errorf("lock: %q: %w", name, err)
	}
	entries := make([]Entry, len(members))
	for i, member := range members {
		entries[i] = newEntry(member.Key, member.Lease, member.Revision, member.Value)
		entries[i].Holds = i == 0
	}
	return entries, nil
}

// entriesOf are those of locks that several may hold.
func entriesOf(members []admission.Member) []Entry {
	entries := make([]Entry, len(members))
	for i, member := range members {
		entries[i] = newEntry(member.Name, member.Lease, member.Create, member.Value)
		entries[i].Holds, entries[i].Write, entries[i].Permits = member.Admitted, member.Writes(), member.Weight
	}
	return entries
}

func newEntry(key string, lease clientv3.LeaseID, revision int64, value []byte) Entry {
	e := Entry{Key: key, Lease: lease, Revision: revision, Token: token(revision, 0)}
	if json.Unmarshal(value, &e.Owner) != nil || e.Owner.Session == "" {
		e.Owner, e.Foreign = Owner{}, value
	}
	return e
}

// ownerPrefix is the JSON of an owner but for its time, which is all that
// differs from one acquisition to the next.
type ownerPrefix string

func newOwnerPrefix(session string) ownerPrefix {
	text, err := json.Marshal(struct {
		Session string `json:"session"`
		Host    string `json:"host"`
		PID     int    `json:"pid"`
	}{session, host(), pid})
	if err != nil {
		panic("lock: encode an owner: " + err.Error()) // strings and a number
	}
	return ownerPrefix(text[:len(text)-1]) + `,"since":"`
}

func (p ownerPrefix) since(t time.Time) string {
	return string(p) + t.UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano) + `"}`
}

// now is the value of a key that is created now.
func (p ownerPrefix) now() string { return p.since(time.Now()) }

var (
	pid  = os.Getpid()
	host = sync.OnceValue(func() string {
		name, err := os.Hostname()
		if err != nil {
			return "unknown"
		}
		return name
	})
)
