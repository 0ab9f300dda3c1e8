package barrier

import (
	"fmt"
	"strconv"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/session"
)

// A site is where a barrier's keys are: a prefix that ends in a slash.
//
//	<site>gate/keeper           the gate, on the lease of the first party
//	<site>gate/record           what was decided; parties watch these two
//	<site>parties/<lease>/<n>   a party, on its lease
//	<site>roll                  Double: who was let in
type site string

func (s site) gates() string   { return string(s) + "gate/" }
func (s site) gate() string    { return s.gates() + "keeper" }
func (s site) record() string  { return s.gates() + "record" }
func (s site) parties() string { return string(s) + "parties/" }
func (s site) roll() string    { return string(s) + "roll" }

func (s site) party(lease clientv3.LeaseID, slot int) string {
	return keys.Member(s.parties(), lease) + "/" + strconv.Itoa(slot)
}

// findSite returns the site of a barrier of that kind and name.
func findSite(s *session.Session, kind, name string) (site, error) {
	prefix, err := keys.Space(s.Namespace()).Barrier(kind, name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrName, err)
	}
	return site(prefix), nil
}

// slots are what the parties of one session at one site are told apart by. They
// are used again, so that etcd does not have to remember ever new key names.
type slots struct {
	mu   sync.Mutex
	used map[int]bool
}

type slotsKey struct{ site site }

// takeSlot returns the smallest number that no other party of the session
// uses, and what gives it back once its key is certainly gone.
func takeSlot(s *session.Session, at site) (slot int, giveBack func()) {
	value, letGo := s.Share(slotsKey{at}, func() any { return &slots{used: map[int]bool{}} })
	all := value.(*slots)
	all.mu.Lock()
	defer all.mu.Unlock()
	for all.used[slot] {
		slot++
	}
	all.used[slot] = true
	return slot, sync.OnceFunc(func() {
		all.mu.Lock()
		delete(all.used, slot)
		all.mu.Unlock()
		letGo()
	})
}
