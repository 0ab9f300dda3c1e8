package session

import "sync"

// Share returns the value that the session keeps under key, and makes it if
// there is none. Everybody who asks for the same key gets the same value until
// all of them have called release; then it is dropped. It is how two mutexes
// of one name find out about each other.
func (s *Session) Share(key any, create func() any) (value any, release func()) {
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	entry := s.shared.entries[key]
	if entry == nil {
		if s.shared.entries == nil {
			s.shared.entries = make(map[any]*sharedEntry)
		}
		entry = &sharedEntry{value: create()}
		s.shared.entries[key] = entry
	}
	entry.users++
	return entry.value, sync.OnceFunc(func() { s.shared.release(key, entry) })
}

type registry struct {
	mu      sync.Mutex
	entries map[any]*sharedEntry
}

type sharedEntry struct {
	value any
	users int
}

func (r *registry) release(key any, entry *sharedEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if entry.users--; entry.users == 0 {
		delete(r.entries, key)
	}
}
