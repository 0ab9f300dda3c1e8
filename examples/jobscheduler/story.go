package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// story tells what happens, line by line, and remembers what the end is about. One goroutine uses it.
type story struct {
	out   io.Writer
	start time.Time

	holder   *node   // as far as has been told
	grants   []event // everybody who held the lock, in order
	runs     []event // every tick that etcd confirmed, in order
	retries  []event // every tick that was tried again after its lock was lost
	handover handover
	newLease clientv3.LeaseID // of the node that was cut off, once it is back
}

// handover is how the lock passed from the node that was cut off to the next one.
type handover struct {
	from, to *node
	cut      time.Time
	stopped  time.Time // from's work had ended
	taken    time.Time // to held the lock
	lastRun  time.Time // by from
	firstRun time.Time // by to
	mended   bool
}

// follow tells an event.
func (s *story) follow(e event) {
	h := &s.handover
	switch e.what {
	case leased:
		if e.epoch > 1 {
			s.line(e.at, e.node.name, "is back, with a new lease; it queues up again")
		}
		if e.node == h.from {
			s.newLease = e.lease
		}
	case holds:
		s.grants = append(s.grants, e)
		s.holder = e.node
		s.line(e.at, e.node.name, "HOLDS THE LOCK  token %d", e.token)
		if h.from != nil && h.to == nil && e.node != h.from {
			h.to, h.taken = e.node, e.at
			s.more("%s after the cut", length(e.at.Sub(h.cut)))
			if !h.stopped.IsZero() {
				s.more("%s after %s had stopped", length(e.at.Sub(h.stopped)), h.from.name)
			}
		}
	case ran:
		s.ran(e)
	case retried:
		s.retries = append(s.retries, e)
		s.line(e.at, e.node.name, "tried tick %d again: %s", e.tick, outcome(e.err))
	case stopped:
		if s.holder == e.node {
			s.holder = nil
		}
		s.line(e.at, e.node.name, "was told that it LOST THE LOCK, and stopped working")
		if e.node == h.from && h.stopped.IsZero() {
			h.stopped = e.at
			s.more("%s after the cut", length(e.at.Sub(h.cut)))
		}
		s.more("why: %s", reason(e.err))
	}
}

func (s *story) ran(e event) {
	h := &s.handover
	if e.err != nil {
		s.line(e.at, e.node.name, "tick %d: %s", e.tick, outcome(e.err))
		return
	}
	s.runs = append(s.runs, e)
	s.line(e.at, e.node.name, "%-14s  token %d", fmt.Sprintf("ran tick %d", e.tick), e.token)
	switch {
	case h.to == nil && (h.from == nil || e.node == h.from):
		h.lastRun = e.at
	case e.node == h.to && h.firstRun.IsZero():
		h.firstRun = e.at
	}
}

func (s *story) cutOff(n *node) {
	s.handover.from, s.handover.cut = n, time.Now()
	s.line(s.handover.cut, n.name, "IS CUT OFF: nothing gets through, and nothing says so")
}

func (s *story) mended() {
	s.handover.mended = true
	s.say(s.handover.from.name, "is mended: its network works again")
}

func (s *story) queue(queue []lock.Entry) {
	s.say("all", "the queue for %q:", lockName)
	for i, entry := range queue {
		role := "waits"
		if i == 0 {
			role = "holds"
		}
		s.more("%d. %s  %s  token %d", i+1, cmp.Or(entry.Owner.Session, "(another program)"), role, entry.Token)
	}
}

// say tells what happens now.
func (s *story) say(who, format string, args ...any) { s.line(time.Now(), who, format, args...) }

func (s *story) line(at time.Time, who, format string, args ...any) {
	fmt.Fprintf(s.out, "%6.2f  %-6s  %s\n", at.Sub(s.start).Seconds(), who, fmt.Sprintf(format, args...))
}

// more adds a line to the one before.
func (s *story) more(format string, args ...any) {
	fmt.Fprintf(s.out, "%s%s\n", strings.Repeat(" ", 18), fmt.Sprintf(format, args...))
}

// reason puts the cause of a loss into plain words.
func reason(err error) string {
	var loss *session.LossError
	switch {
	case errors.As(err, &loss) && loss.Reason == session.ReasonDeadline:
		return "no renewal of its lease was answered in time"
	case errors.As(err, &loss):
		return "etcd no longer knows its lease"
	}
	return err.Error()
}

// outcome puts what became of a tick into plain words.
func outcome(err error) string {
	switch {
	case err == nil:
		return "etcd has taken it"
	case errors.Is(err, errOvertaken):
		return "REFUSED by etcd, the lock has passed on"
	}
	return "no answer, etcd may or may not have it"
}

// length is a duration for people: milliseconds below a second.
func length(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
