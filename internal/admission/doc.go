// Package admission is the queue behind locks that several may hold at once:
// readers beside each other, and permits up to a limit. Like in package
// waitqueue, the keys below a prefix queue in the order of their create
// revisions; here more than the first of them may own.
//
//	Acquire ─▶ create the key ─▶ decide ── nobody in the way ─────────▶ Hold
//	                               ▲  │                                  ▲
//	                               │  │ somebody in the way              │
//	                 what is there │  ▼                                  │
//	                             look ◀── await a key, or room ──────────┘
//
// What everything rests on is that nobody enters ahead of a key that exists.
// What is ahead only becomes less, so whoever was admitted once stays so, and
// admission needs no word to anybody.
//
// # Readers and writers
//
//	<prefix>r/<lease>/<slot>   a reader
//	<prefix>w/<lease>/<slot>   a writer, or a reader that was one
//
// A writer waits for everything ahead of it, a reader for the writers ahead of
// it. Each watches the last of these. A writer that goes on as a reader writes
// its key again, which keeps the create revision and with it the place; that a
// key was written again shows in its mod revision, without its value.
//
// # Permits
//
//	<prefix>limit/<n>                   what all users have agreed on
//	<prefix>q/<weight>/<lease>/<slot>   a holder or waiter
//
// A key is admitted when its weight and those of all keys ahead fit into the
// limit. The first that is not watches all deletions; each further one watches
// only the key right ahead, which is written again once it is admitted. So a
// release wakes one waiter, and its admission the next, however long the queue.
//
// # Slots
//
// Each hold has a key of its own. The slots number those of one session, and
// the lowest free one is used again: etcd keeps the names of deleted keys until
// a compaction.
package admission
