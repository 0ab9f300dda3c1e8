package world

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Kind is a kind of fault.
type Kind int

// The faults of a node's link, then those of the server.
const (
	Cut         Kind = iota // both directions, for a while
	CutRequests             // from the node to the server, for a while
	CutAnswers              // from the server to the node, for a while
	LoseAnswers             // as CutAnswers, and at the end the connections break
	Reset                   // the connections break
	Strand                  // the connections are silent for good, new ones work
	Slow                    // everything is under way for longer, for a while
	Crash                   // the server is gone for a while
	Compact                 // the server forgets its history

	kinds int = iota
)

var kindNames = [kinds]string{"cut", "cut-requests", "cut-answers", "lose-answers", "reset", "strand", "slow", "crash", "compact"}

func (k Kind) String() string { return kindNames[k] }

func (k Kind) ofServer() bool { return k == Crash || k == Compact }

// lasts tells whether the fault takes time, and is then undone.
func (k Kind) lasts() bool { return k != Reset && k != Strand && k != Compact }

// A Range is drawn from so that each doubling of length is as likely as the
// next: most draws are short, and some are long.
type Range struct{ Min, Max time.Duration }

func (r Range) draw(rnd *rand.Rand) time.Duration {
	ratio := float64(r.Max) / float64(r.Min)
	return time.Duration(float64(r.Min) * math.Pow(ratio, rnd.Float64())).Round(time.Millisecond)
}

// Rates say how often which faults happen.
type Rates struct {
	NodeCalm   Range // between two faults of one node
	ServerCalm Range // between two faults of the server
	Hold       Range // how long a fault of a node lasts
	Down       Range // how long the server is down
	Delay      Range // how long bytes are under way on a slow link
	// Weights are relative: the faults of a node among themselves, and those
	// of the server among themselves. What is not named does not happen.
	Weights map[Kind]int
}

// DefaultRates suit leases of a few seconds: faults last from far less than a
// lease to several times as long, and most of the time something is wrong.
func DefaultRates() Rates {
	return Rates{
		NodeCalm:   Range{50 * time.Millisecond, 20 * time.Second},
		ServerCalm: Range{5 * time.Second, 60 * time.Second},
		Hold:       Range{20 * time.Millisecond, 20 * time.Second},
		Down:       Range{10 * time.Millisecond, 15 * time.Second},
		Delay:      Range{time.Millisecond, 2 * time.Second},
		Weights: map[Kind]int{
			Cut: 4, CutRequests: 2, CutAnswers: 3, LoseAnswers: 3, Reset: 3, Strand: 1, Slow: 2,
			Crash: 2, Compact: 3,
		},
	}
}

// LateAnswerRates aim at one defect that DefaultRates rarely bring to light: an
// answer that comes late, and then none in time. A client that counts its lease
// from the receipt of the answer, and not from its own request, believes too
// long in nine of ten such schedules of four minutes, and in one of ten others.
func LateAnswerRates() Rates {
	r := DefaultRates()
	r.NodeCalm = Range{10 * time.Millisecond, time.Second}
	r.Hold = Range{100 * time.Millisecond, 8 * time.Second}
	r.Weights = map[Kind]int{Cut: 1, CutAnswers: 1}
	return r
}

// A Fault is something that happens at an instant of a schedule, and is undone
// after Hold where it lasts.
type Fault struct {
	At    time.Duration
	Kind  Kind
	Node  string // empty: the server
	Hold  time.Duration
	Delay time.Duration // of Slow
}

func (f Fault) String() string {
	who := f.Node
	if who == "" {
		who = "server"
	}
	s := fmt.Sprintf("%9v  %-8s %s", f.At, who, f.Kind)
	if f.Kind == Slow {
		s += fmt.Sprintf(" %v", f.Delay)
	}
	if f.Hold > 0 {
		s += fmt.Sprintf(" for %v", f.Hold)
	}
	return s
}

// A Schedule is a list of faults in the order of time. At every instant each
// node has at most one fault, and so has the server.
type Schedule struct {
	Seed   uint64
	Length time.Duration
	Faults []Fault
}

// String is what a failing test prints: the seed, and a line for each fault.
func (s Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "schedule with seed %d: %d faults in %v", s.Seed, len(s.Faults), s.Length)
	for _, f := range s.Faults {
		fmt.Fprintf(&b, "\n%v", f)
	}
	return b.String()
}

// Plan draws a schedule. It is a function of its arguments, and the faults of
// one node do not depend on which others there are.
func Plan(seed uint64, length time.Duration, nodes []string, rates Rates) Schedule {
	s := Schedule{Seed: seed, Length: length}
	for _, node := range append([]string{""}, nodes...) {
		s.Faults = append(s.Faults, planFor(node, randFor(seed, "faults of "+node), length, rates)...)
	}
	slices.SortStableFunc(s.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return s
}

func planFor(node string, rnd *rand.Rand, length time.Duration, rates Rates) []Fault {
	calm, hold := rates.NodeCalm, rates.Hold
	if node == "" {
		calm, hold = rates.ServerCalm, rates.Down
	}
	var bag []Kind
	for k := range Kind(kinds) {
		if k.ofServer() == (node == "") {
			bag = append(bag, slices.Repeat([]Kind{k}, rates.Weights[k])...)
		}
	}
	if len(bag) == 0 {
		return nil
	}
	var faults []Fault
	for at := calm.draw(rnd); at < length; at += calm.draw(rnd) {
		f := Fault{At: at, Node: node, Kind: bag[rnd.IntN(len(bag))]}
		if f.Kind.lasts() {
			f.Hold = min(hold.draw(rnd), length-at)
		}
		if f.Kind == Slow {
			f.Delay = rates.Delay.draw(rnd)
		}
		faults = append(faults, f)
		at += f.Hold
	}
	return faults
}
