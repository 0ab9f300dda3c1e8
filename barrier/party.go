package barrier

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/gotenure/tenure/session"
)

// A Party is somebody at a barrier, as the keys in etcd tell it.
type Party struct {
	Session string    `json:"session"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"` // by the clock of the party's machine: when it came
}

func (p Party) String() string {
	return fmt.Sprintf("%q (%s, pid %d)", p.Session, p.Host, p.PID)
}

// newParty describes a session that comes now.
func newParty(s *session.Session) Party {
	return Party{Session: s.Name(), Host: host(), PID: os.Getpid(), Since: time.Now().UTC().Truncate(time.Millisecond)}
}

var host = sync.OnceValue(func() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
})

// encode is for values that cannot fail to encode.
func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("barrier: encode: " + err.Error()) // strings, numbers and times of this century
	}
	return string(text)
}
