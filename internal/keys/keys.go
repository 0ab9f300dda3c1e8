// Package keys says where things live in etcd.
//
//	/tenure/                       the namespace, unless another is set
//	  sessions/<lease>             who owns the lease
//	  sessions/<lease>/requests/<key>  somebody wants that key of the session's
//	  fences/<lease>/<n>           closes the n-th fence of the lease
//	  delays/<prefix>              whose crash delays the next grant of that lock
//	  locks/<name>/<lease>         one key per session that holds or waits
//	  rwlocks/<name>/...           readers and writers, see internal/admission
//	  semaphores/<name>/...        permits and their limit, see internal/admission
//	  elections/<name>/<lease>     one key per session that leads or stands
//	  candidates/<name>/<lease>    what a candidate says about itself
//	  barriers/<kind>/<name>/      what a barrier of that kind consists of
//	  pools/<name>/...             a group of workers, see Pool
//	  config/<name>/live/          what is in force, and who wrote it last
//	  config/<name>/history/<n>    what was in force before
//	  config/<name>/instances/<lease>  what the owner of the lease has applied
//	  config/<name>/asks/<lease>   a draft that instances are to judge
//	  config/<name>/answers/<lease>/<lease>  what one of them says
//
// A name is one path segment: it is escaped so that no name's keys are a
// prefix of another's, and ordinary names stay readable. <lease> is the lease
// id in lower-case hexadecimal without leading zeros, the layout of etcd's own
// concurrency package, so that both can queue on one prefix.
package keys

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// DefaultNamespace is where everything lives unless a session says otherwise.
const DefaultNamespace = "/tenure/"

// MaxName is the longest name in bytes. etcd has no limit of its own on a key
// but that of the request; a kilobyte is more than any name needs.
const MaxName = 1024

// Errors of Escape and NewSpace.
var (
	ErrEmptyName = errors.New("the name is empty")
	ErrLongName  = fmt.Errorf("the name is longer than %d bytes", MaxName)
	ErrNamespace = errors.New("the namespace must not be empty or only slashes")
)

// A Space is a namespace: a key prefix that ends in a slash.
type Space string

// NewSpace returns the space for a namespace, with exactly one slash behind it.
func NewSpace(namespace string) (Space, error) {
	trimmed := strings.TrimRight(namespace, "/")
	if trimmed == "" {
		return "", fmt.Errorf("%w: %q", ErrNamespace, namespace)
	}
	return Space(trimmed + "/"), nil
}

// Sessions is the prefix of all session keys.
func (s Space) Sessions() string { return string(s) + "sessions/" }

// Session is the key that describes the session with this lease.
func (s Space) Session(lease clientv3.LeaseID) string { return Member(s.Sessions(), lease) }

// Fence is the key that closes the n-th fence of a lease.
func (s Space) Fence(lease clientv3.LeaseID, n int64) string {
	return Member(string(s)+"fences/", lease) + "/" + strconv.FormatInt(n, 10)
}

// Locks is the prefix of all locks.
func (s Space) Locks() string { return string(s) + "locks/" }

// Lock is the prefix of one lock's queue.
func (s Space) Lock(name string) (string, error) { return below(s.Locks(), name) }

// RWLock is the prefix of one reader-writer lock's queue.
func (s Space) RWLock(name string) (string, error) { return below(string(s)+"rwlocks/", name) }

// Semaphore is the prefix of one semaphore's limit and queue.
func (s Space) Semaphore(name string) (string, error) { return below(string(s)+"semaphores/", name) }

// Elections is the prefix of all elections.
func (s Space) Elections() string { return string(s) + "elections/" }

// Election is the prefix of one election's candidates.
func (s Space) Election(name string) (string, error) { return below(s.Elections(), name) }

// Candidates is the prefix under which the candidates of the election at a key
// prefix describe themselves. The election may be one of this space or not; two
// elections never share it.
func (s Space) Candidates(election string) (string, error) {
	segment, ours := strings.CutPrefix(election, s.Elections())
	if ours && strings.IndexByte(segment, '/') == len(segment)-1 && segment != "" {
		return string(s) + "candidates/" + segment, nil
	}
	return below(string(s)+"candidates-at/", election)
}

// Barriers is the prefix of all barriers.
func (s Space) Barriers() string { return string(s) + "barriers/" }

// Barrier is the prefix of one barrier. Kinds have names of their own.
func (s Space) Barrier(kind, name string) (string, error) {
	return below(s.Barriers()+kind+"/", name)
}

// Delay is the key that marks the owner of the lock with that prefix, for those
// who wait for a while after its crash.
func (s Space) Delay(prefix string) string { return string(s) + "delays/" + prefix }

// Configs is the prefix of all configurations.
func (s Space) Configs() string { return string(s) + "config/" }

// Config is the prefix of everything that belongs to one configuration.
func (s Space) Config(name string) (string, error) { return below(s.Configs(), name) }

func below(prefix, name string) (string, error) {
	segment, err := Escape(name)
	if err != nil {
		return "", err
	}
	return prefix + segment + "/", nil
}

// Member is the key of a lease below a prefix that ends in a slash.
func Member(prefix string, lease clientv3.LeaseID) string {
	return prefix + strconv.FormatInt(int64(lease), 16)
}

// ParseMember returns the lease in a key that Member made from the prefix, and
// false for any other key.
func ParseMember(prefix, key string) (clientv3.LeaseID, bool) {
	hex, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return 0, false
	}
	lease, err := strconv.ParseInt(hex, 16, 64)
	if err != nil || Member(prefix, clientv3.LeaseID(lease)) != key {
		return 0, false
	}
	return clientv3.LeaseID(lease), true
}

// Slot is one of several keys of a lease below a prefix that ends in a slash.
func Slot(prefix string, lease clientv3.LeaseID, n int) string {
	return Member(prefix, lease) + "/" + strconv.Itoa(n)
}

// Escape turns a name into one path segment. Letters, digits and most
// punctuation stay as they are, everything else is percent-encoded.
func Escape(name string) (string, error) {
	switch {
	case name == "":
		return "", ErrEmptyName
	case len(name) > MaxName:
		return "", ErrLongName
	}
	return url.PathEscape(name), nil
}

// Unescape is the inverse of Escape. It refuses a segment that Escape does not
// produce, so that two segments never stand for one name.
func Unescape(segment string) (string, error) {
	name, err := url.PathUnescape(segment)
	if err != nil {
		return "", err
	}
	again, err := Escape(name)
	if err != nil {
		return "", err
	}
	if again != segment {
		return "", fmt.Errorf("%q is not the escaped form of a name", segment)
	}
	return name, nil
}
