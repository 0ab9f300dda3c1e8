// Package barrier has what makes processes wait for each other.
//
//	Barrier   Hold ─▶ everybody waits ─▶ Release ─▶ everybody goes on
//	Cyclic    Await: when all parties have come they go on, again and again
//	Double    Enter: when all have come they begin; Leave: when all want to, they end
//	Latch     Set(n), CountDown(name): when n contributions are made it opens, for good
//
// A party that dies, or that gives up, is not waited for in vain: everybody gets
// an error that names it.
//
// # How the parties of a Cyclic and a Double agree
//
//	          the first makes the gate          the keeper opens it
//	Await ──▶ gathering ─────────────────────▶ all have come ──▶ passed
//	             │  a party dies, gives up, resets; the action fails
//	             ▼
//	          broken: the same *BrokenError for all; the next attempt can begin
//
// Every party has one key, on the lease of its session. The first one that comes
// also makes the gate, on its own lease, and keeps it: it watches who comes and
// who goes, and decides. All others watch the gate and the record of decisions
// and nothing else, so one event wakes them all.
//
//	/tenure/barriers/cyclic/<name>/gate/keeper           the gate
//	/tenure/barriers/cyclic/<name>/gate/record           what was decided
//	/tenure/barriers/cyclic/<name>/parties/<lease>/<n>   a party
//
// A decision replaces the record and removes the gate in one transaction, which
// compares both. So there is one decision on each gate, however often an attempt
// is repeated or how late it is applied. If the keeper dies, the gate goes with
// its lease, and that is a decision too: what is not there cannot be opened.
// Opening a Cyclic deletes the keys of those who pass, in the same transaction;
// a party that was cut off for long learns from its own key what became of it.
//
// # What is not guaranteed
//
// A party that has not come yet is not missed by name: if it dies before, or
// before the first party has seen it, the others wait until somebody else comes
// or until their contexts end. A party whose lease is lost counts as dead; if the
// gate was opened just before, the others have passed with it.
//
// Who is told that all have come knows that they had: a party can die the moment
// after. A Double tells those who leave of one that has died inside.
package barrier
