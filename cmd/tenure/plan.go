//go:build unix

package main

import "time"

// A plan says when a program is stopped whose lock cannot be kept. Counted from the instant at which the session
// stops to trust its lease, the deadline:
//
//	SIGTERM at -notice, SIGKILL at -notice + grace, etcd can give the lock away at +margin
//
// and SIGKILL never falls later than the middle of the margin. The other half is for a tool that is not scheduled
// at once, and for clocks that disagree.
type plan struct {
	notice time.Duration
	grace  time.Duration
	// forced is the grace when somebody takes the lock away, which nobody can know before: the key goes a margin
	// after the end of the handle's context.
	forced time.Duration
	// yield: the program is asked to end when somebody asks for the lock.
	yield bool
}

// plan makes the plan for a lease of the given TTL.
func (l *lockCommand) plan(ttl time.Duration) plan {
	half := margin(ttl) / 2
	if !l.graceSet {
		return plan{grace: half, forced: half, yield: l.yield}
	}
	return plan{grace: l.grace, notice: max(0, l.grace-half), forced: min(l.grace, half), yield: l.yield}
}

// margin is the time between a session's deadline and the earliest instant at which etcd can let its lease run out,
// as package session documents it.
func margin(ttl time.Duration) time.Duration {
	return min(max(ttl/10, 200*time.Millisecond), time.Second)
}

// longestGrace is how much of a TTL can be set aside for stopping. A renewal is due every third of it; what is left
// is for repeating one that has failed.
func longestGrace(ttl time.Duration) time.Duration { return ttl / 3 }
