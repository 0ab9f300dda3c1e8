// Package waitqueue is the queue behind locks and elections: one key per
// waiting session below a prefix, attached to the session's lease; the key
// with the lowest create revision owns.
//
//	Acquire ─▶ local turn ─▶ enter: create the key ─▶ alone? ──────────▶ Hold
//	                            │                       │ no              ▲
//	                            │ in doubt              ▼                 │
//	                            ▼                   look: who is ahead ───┤ nobody
//	                         settle                     ▲  │              │
//	                                                    │  ▼              │
//	                                    others may be   └─ await the ─────┘
//	                                    ahead of it        predecessor's end
//
// The layout is that of etcd's own concurrency package, so both can queue on
// one prefix: <prefix><lease in hexadecimal>.
//
// # One key per session
//
// Goroutines of one process that want the same name queue locally, first come
// first served, behind the session's single key. The key's name is used again
// for every acquisition: etcd keeps the names of deleted keys in its index
// until a compaction, and fresh names would make every range over the queue
// slower for ever. So a name is not an identity here; the create revision is,
// and every deletion compares it.
//
// # What a handoff costs
//
// Creating the key and reading the front of the queue is one transaction; it
// returns a few keys only, so its cost does not grow with the queue. A waiter
// watches its predecessor and nothing else, so a release wakes one waiter. If
// the predecessor was known to be the first, its end is the grant; otherwise one
// more read tells whether somebody is still ahead.
//
// The key's own life, and what becomes of an attempt to create it that was not
// answered, is package leasekey's. The local turn is passed on only when
// nothing of an attempt is left.
package waitqueue
