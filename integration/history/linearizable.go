package history

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"
)

// linearizeLimit is how long the search for an order may take, in real time.
const linearizeLimit = 30 * time.Second

// Linearizable checks that there is an order of grants, releases, expiries and
// guarded writes in which a lock could have answered as it did: granted only
// when free and with a larger token, written only by the owner, and refused
// only to others. It goes by the answers alone and needs no observer, so it is
// of use on real clusters too; and it is the only one to find a write that was
// refused to the owner, or done for an earlier token on the same key.
//
// It searches in real time: call it outside of the bubble.
func Linearizable(h History) []Violation {
	var out []Violation
	for name, ops := range sorted(h.operations()) {
		result := porcupine.CheckOperationsTimeout(lockModel, ops, linearizeLimit)
		switch result {
		case porcupine.Illegal:
			out = append(out, Violation{
				Rule: "order", Name: name, At: h.End,
				Text: "no order of the grants, releases, expiries and guarded writes explains their answers",
			})
		case porcupine.Unknown:
			out = append(out, Violation{
				Rule: "order", Name: name, At: h.End,
				Text: fmt.Sprintf("undecided after %v for %d operations", linearizeLimit, len(ops)),
			})
		}
	}
	return out
}

type opKind int

const (
	opGrant   opKind = iota // the lock was free, and now has the token
	opRelease               // the token's ownership ends, if it still lasted
	opMayEnd                // the token's ownership may end, or not
	opWrite                 // done: the token owns
	opRefusal               // not done: the token does not own
)

// An op is the input of an operation; what was answered is part of it.
type op struct {
	kind  opKind
	token int64
}

// lockState is who owns, and the largest token there was.
type lockState struct{ owner, last int64 }

var lockModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{lockState{}} },
	Step: func(state, input, _ any) []any {
		s, o := state.(lockState), input.(op)
		free := lockState{last: s.last}
		switch {
		case o.kind == opGrant && s.owner == 0 && o.token > s.last:
			return []any{lockState{owner: o.token, last: o.token}}
		case o.kind == opRelease && s.owner == o.token:
			return []any{free}
		case o.kind == opMayEnd && s.owner == o.token:
			return []any{free, s}
		case o.kind == opRelease || o.kind == opMayEnd:
			return []any{s}
		case o.kind == opWrite && s.owner == o.token, o.kind == opRefusal && s.owner != o.token:
			return []any{s}
		}
		return nil
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}).ToModel()

// operations turns a history into porcupine's, for each lock. The instants are
// places in the history: those are in order even within one virtual instant.
// A write of unknown outcome changes no owner and says nothing: it is left out.
func (h History) operations() map[string][]porcupine.Operation {
	out := make(map[string][]porcupine.Operation)
	// When the call began whose answer is still to come.
	asked, releasing, writing := make(map[int]int), make(map[int]int), make(map[string]int)
	add := func(e Event, kind opKind, call int, ret int64) {
		out[e.Name] = append(out[e.Name], porcupine.Operation{
			Input: op{kind, e.Token}, Call: int64(call), Return: ret,
		})
	}
	ends := h.orderlyEnds()
	for _, e := range h.Events {
		switch e.Kind {
		case Asked:
			asked[e.Attempt] = e.Seq
		case Acquired:
			add(e, opGrant, asked[e.Attempt], int64(e.Seq))
			if !ends[e.Attempt] {
				add(e, opMayEnd, e.Seq, math.MaxInt64)
			}
		case Releasing:
			releasing[e.Attempt] = e.Seq
		case Released:
			if e.Text == "" {
				add(e, opRelease, releasing[e.Attempt], int64(e.Seq))
			}
		case Writing:
			writing[e.Mark] = e.Seq
		case Committed:
			add(e, opWrite, writing[e.Mark], int64(e.Seq))
		case Refused:
			add(e, opRefusal, writing[e.Mark], int64(e.Seq))
		}
	}
	return out
}

// orderlyEnds are the attempts whose ownership ended by an Unlock that returned
// no error, and by nothing else. Any other may end by expiry at any time, or
// never.
func (h History) orderlyEnds() map[int]bool {
	out := make(map[int]bool)
	lost := make(map[int]bool)
	for _, e := range h.Events {
		switch e.Kind {
		case Lost:
			lost[e.Attempt] = true
		case Released:
			out[e.Attempt] = e.Text == "" && !lost[e.Attempt]
		}
	}
	return out
}
