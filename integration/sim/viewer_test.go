package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gotenure/tenure/election"
	"github.com/gotenure/tenure/integration/history"
)

// A viewer observes the election from one node, now and then slowly.
type viewer struct {
	name  string
	since int64
	slow  bool
	rnd   *rand.Rand

	mu      sync.Mutex
	started time.Duration
	stopped bool // by the end of the schedule
	ended   bool // by the end of its process, before that
	events  []election.Event
}

func (v *viewer) watch(ctx context.Context, now func() time.Duration, e *election.Election) {
	v.mu.Lock()
	v.started = now()
	v.mu.Unlock()
	var opts []election.ObserveOption
	if v.since > 0 {
		opts = append(opts, election.After(v.since))
	}
	for ev, err := range e.Observe(ctx, opts...) {
		if err != nil || !v.note(ev) {
			break
		}
		if v.slow {
			pause(ctx, upTo(v.rnd, 3*time.Second))
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = !v.stopped
}

func (v *viewer) note(ev election.Event) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.stopped {
		v.events = append(v.events, ev)
	}
	return !v.stopped
}

func (v *viewer) stop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stopped = true
}

// last is up to where the viewer knows everything.
func (v *viewer) last() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.events) == 0 {
		return v.since
	}
	return v.events[len(v.events)-1].Revision
}

func (v *viewer) gaps() int {
	gaps := 0
	for _, ev := range v.events {
		if ev.Kind == election.Gap {
			gaps++
		}
	}
	return gaps
}

// truth is what happened in an election, as the unfaulted observer of the store
// has seen it.
type truth []fact

type fact struct {
	at time.Duration
	election.Event
}

// truthOf looks, after every revision, for the key with the lowest create
// revision.
func truthOf(h history.History, name string) truth {
	type key struct {
		created, mod int64
		value        string
	}
	var facts truth
	live := map[string]key{}
	var was key
	for i, c := range h.Changes {
		if c.Name == name {
			if c.Deleted {
				delete(live, c.Key)
			} else {
				live[c.Key] = key{c.Created, c.Revision, c.Value}
			}
		}
		if i+1 < len(h.Changes) && h.Changes[i+1].Revision == c.Revision {
			continue
		}
		var now key
		for _, k := range live {
			if now.created == 0 || k.created < now.created {
				now = k
			}
		}
		f := fact{c.At, election.Event{Revision: c.Revision, Leader: election.Leader{Token: now.created, Value: []byte(now.value)}}}
		switch {
		case now == was:
			continue
		case now.created == 0:
			f.Kind = election.Vacant
		case now.created == was.created:
			f.Kind = election.Changed
		default:
			f.Kind = election.Elected
		}
		was = now
		facts = append(facts, f)
	}
	return facts
}

// at is the place of the last fact up to a revision, -1 if there is none.
func (f truth) at(rev int64) int {
	return slices.IndexFunc(append(f[:len(f):len(f)], fact{Event: election.Event{Revision: 1 << 62}}),
		func(x fact) bool { return x.Revision > rev }) - 1
}

// checkViewers checks E3: what a viewer was told is what happened, event for
// event, but for gaps; and a viewer that was not slow has heard of everything
// that happened well before the end.
func (p *electionPlay) checkViewers(facts truth, end time.Duration) (out []history.Violation) {
	for _, v := range p.viewers {
		complain := func(format string, args ...any) {
			out = append(out, history.Violation{Rule: "E3", Name: electionName, At: end,
				Text: fmt.Sprintf("the viewer on %s: ", v.name) + fmt.Sprintf(format, args...) + "\n" + v.story()})
		}
		place, state := -1, v.since == 0 // of the last fact that it knows; whether it is told a state next
		if v.since > 0 {
			place = facts.at(v.since)
		}
		for _, ev := range v.events {
			switch {
			case ev.Kind == election.Gap:
				state = true
			case state:
				state = false
				at := facts.at(ev.Revision)
				if at < place {
					complain("went back to %v", ev)
				}
				if place = at; !same(ev, facts, at) {
					complain("was told of %v, which did not hold", ev)
				}
			default:
				place++
				if place >= len(facts) || facts[place].Revision != ev.Revision ||
					facts[place].Kind != ev.Kind || !same(ev, facts, place) {
					complain("was told of %v instead of the next that happened, %v", ev, facts[min(place, len(facts)-1)].Event)
					place = facts.at(ev.Revision)
				}
			}
			if len(out) > 0 {
				return out
			}
		}
		settled := end - calm/2
		if !v.ended && !v.slow && v.started < end-calm && place+1 < len(facts) && facts[place+1].at < settled {
			complain("was not told of %v at %v", facts[place+1].Event, facts[place+1].at)
		}
	}
	return out
}

// same tells whether an event has the leader and the value of a fact.
func same(ev election.Event, facts truth, at int) bool {
	if at < 0 || facts[at].Token == 0 {
		return ev.Kind == election.Vacant
	}
	return ev.Kind != election.Vacant && ev.Token == facts[at].Token && string(ev.Value) == string(facts[at].Value)
}

func (v *viewer) story() string {
	lines := make([]string, len(v.events))
	for i, ev := range v.events {
		lines[i] = "  " + ev.String()
	}
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// A work is what Run did in one term, until it really stopped.
type work struct {
	token      int64
	begun, end time.Duration
}

func (p *electionPlay) worked(w work) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.works = append(p.works, w)
}

// checkWorks checks E4: no key was deleted before the work of its term had
// stopped, unless its lease ended.
func (p *electionPlay) checkWorks(h history.History) (out []history.Violation) {
	ended := map[int64]int64{} // lease -> the revision that took its session's key
	for _, c := range h.Changes {
		if c.Deleted && strings.HasPrefix(c.Key, "/tenure/sessions/") {
			ended[c.Lease] = c.Revision
		}
	}
	for _, w := range p.works {
		for _, c := range h.Changes {
			if c.Deleted && c.Name == electionName && c.Created == w.token && c.At < w.end && ended[c.Lease] != c.Revision {
				out = append(out, history.Violation{Rule: "E4", Name: electionName, At: c.At,
					Text: fmt.Sprintf("the work of token %d went on until %v: %v", w.token, w.end, c)})
			}
		}
	}
	return out
}
