// Package leasekey is the life of one key under a session's lease, from the
// moment at which it may exist until it certainly does not.
//
//	New ─▶ Create ─▶ exists ─────────────────▶ Remove ─▶ gone
//	          │         │  Hold: somebody owns ▲   │
//	          │         │  by it, Release ─────╯   │ not answered
//	   no     │         ▼                          ▼
//	answer    │       lost: with its lease,     goes on in the background,
//	          ▼       or deleted by somebody    or goes with the lease
//	       Settle ─▶ exists, or never will
//
// It is what locks of every kind stand on: who may own by a key is decided
// elsewhere. The name of a key is used again and again; its create revision is
// its identity, and every deletion compares it.
//
// # What is never left behind
//
// A transaction that creates a key compares the session's fence. If its outcome
// is unknown, the fence is closed (see session.Epoch.Settle), after which the
// key either exists or never will, and can be removed for certain. Clean-ups go
// on in the background when the caller cannot wait.
//
// # Asked for, taken away, marked
//
// Others ask for a key through its session (Ask): whoever holds by it can find
// out, or is ended from outside (Hold.Revoke), and then the key is removed behind
// the end. A key can have a marker beside it that outlives a crash (Key.Mark).
package leasekey
