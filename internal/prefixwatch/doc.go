// Package prefixwatch follows one key or one prefix of etcd without losing
// anything.
//
//	            created         read at least at
//	open ──▶ watch exists ──▶ the watch's revision ──▶ snapshot ─┐
//	  ▲                                                         ▼
//	  │ compacted: read again, report the difference     events in order
//	  │ broken, stalled: resume behind the last revision        │
//	  └─────────────────────────────────────────────────────────┘
//
// The watch is created before the state is read, and without a revision: a
// watch that starts at or below the store's current revision is served by a
// loop that wakes only every 100 ms. Events that the snapshot already contains
// are dropped by their revision.
//
// A connection that has gone silent looks like a prefix on which nothing
// happens. So silence is believed for a while only, then a linearizable read
// of the keys is compared with what the watch has told. If the watch is
// behind, it is replaced by one on another gRPC stream, which the balancer
// puts on the next endpoint, and which resumes where the old one stopped.
//
// A Watch has no goroutine of its own: Next does the work in its caller's. The
// stream behind it belongs to the etcd client.
package prefixwatch
