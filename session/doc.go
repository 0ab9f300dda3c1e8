// Package session owns the lease that everything else hangs on.
//
//	New ──▶ granted ──▶ epoch n ── Close ──▶ revoked, ErrClosed
//	           ▲           │
//	           │           │ not renewed in time, or gone from etcd
//	           │           ▼
//	        retry ◀──── lost: context cancelled with a *LossError
//
// A session keeps one lease alive whatever number of locks hang on it. Each
// lease is an epoch. When it is lost, everything that was acquired in it is
// lost too and is told so through its context; the session then obtains a new
// lease by itself, and nothing is silently acquired again.
//
// # The deadline
//
// An epoch ends, for this process, at the instant at which the last answered
// renewal was sent, plus the TTL, less a margin of a tenth of it (at most a
// second, at least a fifth of one). etcd counts the TTL from a later instant, so
// the epoch's context is cancelled before etcd can let the lease run out, as
// long as the two clocks do not drift apart by more than the margin within one
// TTL. The clock is CLOCK_BOOTTIME on Linux, which counts through a suspend,
// and [Epoch.Valid] reads it, so that it is right in the first instruction
// after a SIGSTOP, a pause of the virtual machine or a long garbage
// collection.
//
// # What is not guaranteed
//
// A process can be paused between a check and the write that it protects. What
// must not happen then needs a fencing token or a guarded transaction; locks
// and elections provide both.
package session
