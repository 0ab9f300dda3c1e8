// Package history records what the users of a lock believed and what the store
// did, and checks one against the other.
//
//	clients ── Ask, Acquired, Lost, Releasing, Write … ──►╮
//	                                                      ├─ Recorder ─► History ─► checkers ─► []Violation
//	store ──── Observer: PUT, DELETE with revisions ─────►╯
//
// All records have one order and one clock. The clock may be virtual: then much
// happens at one instant, and the order of the records decides within it.
//
//	asked ──► acquired ──► releasing ──► released
//	  │           │
//	  │           ╰──────► lost
//	  ╰─────► failed
//
// A client believes from acquired until lost or releasing, whichever is first.
// Record releasing before Unlock is called, and acquired after Lock returned:
// an interval is then never longer than what the client saw.
//
// # Checkers
//
// Each is a function of the history alone. What they look for:
//
//	M1     Exclusion      two beliefs of one name overlap
//	M2     TokenOrder     a token is not larger than the one before
//	M3     GuardedWrites  a guarded write was done outside of its key's ownership
//	M4     GrantOrder     granted while an older key of the name was left
//	M5     Starvation     the oldest key's client waits, connected, and is not granted
//	M6     Leftovers      a key stays that its client has no use for
//	X1     LeaseSafety    believed after the key was deleted
//	order  Linearizable   no order of events explains the answers
//	R1 S1  Sharing        beliefs overlap that do not fit beside each other
//	R2 S2  Sharing        granted while what is older did not leave room
//	blind  Check          the observer missed something, so nothing is proven
//
// M1, M2 and order need no observer, so they serve on real clusters as well.
// The others take the observer for the truth: its client must be one that no
// fault reaches.
//
// A key owns its lock from the moment when it is the oldest of the name until
// it is deleted, in time for M4, M5 and X1, in revisions for M3. A token that
// is larger than the create revision of its key, because several grants share a
// key, is no problem: a record has both.
//
// M5 and M6 count only time in which the client is connected without a break,
// so they see little while faults come fast: end a run with a quiet while that
// is longer than their bounds.
package history
