package proxy

import "time"

// A Mode says what happens to connections and to the bytes on them.
type Mode struct {
	name     string
	requests treatment // from the client to the target
	answers  treatment // from the target to the client
	refuse   bool
	delay    time.Duration
}

type treatment int

const (
	deliver treatment = iota
	hold
	swallow
)

// The modes; see the package documentation.
var (
	Pass          = Mode{name: "pass"}
	Pause         = Mode{name: "pause", requests: hold, answers: hold}
	PauseRequests = Mode{name: "pause-requests", requests: hold}
	PauseAnswers  = Mode{name: "pause-answers", answers: hold}
	BlackHole     = Mode{name: "black-hole", requests: swallow, answers: swallow}
	DropRequests  = Mode{name: "drop-requests", requests: swallow}
	DropAnswers   = Mode{name: "drop-answers", answers: swallow}
	Refuse        = Mode{name: "refuse", requests: swallow, answers: swallow, refuse: true}
)

// Delay delivers bytes d after the proxy has read them, in both directions, so
// a round trip takes 2d longer. They do not wait for each other.
func Delay(d time.Duration) Mode { return Mode{name: "delay " + d.String(), delay: d} }

func (m Mode) String() string { return m.name }

// both tells whether the mode treats both directions so.
func (m Mode) both(t treatment) bool { return m.requests == t && m.answers == t }
