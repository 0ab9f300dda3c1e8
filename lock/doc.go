// Package lock has locks that processes share through etcd.
//
//	Lock ─▶ waiting ──────────▶ held ──── Unlock ─▶ unlocked
//	  │       │ ctx ended        │
//	  │       │ session lost     │ session lost or closed, key deleted
//	  ▼       ▼                  ▼
//	error, nothing left        lost: context cancelled with ErrLost
//
// What was acquired is a [Held]: a handle with a context that ends with the
// ownership, a fencing token that only grows, and a guard for transactions. A
// handle belongs to one hold. Once it is lost it stays lost, even if its
// session recovers.
//
// # How it is laid out in etcd
//
// Keys of those who hold or wait, attached to their sessions' leases:
//
//	/tenure/locks/<name>/<lease>                   a mutex: one key per session
//	/tenure/rwlocks/<name>/r|w/<lease>/<slot>      readers and writers: one each
//	/tenure/semaphores/<name>/q/<n>/<lease>/<slot> so many permits
//	/tenure/semaphores/<name>/limit/<n>            of how many; stays
//
// The lease is in hexadecimal, and the value says whose it is. The order is
// that of the create revisions. For the mutex that is the layout of etcd's own
// concurrency package, so with [AtKey] it is shared with programs that use it,
// with `etcdctl lock` and with the v3lock service. A waiter watches one key
// that is in its way, and the first one that waits for permits watches all.
//
// The goroutines of one session that want one mutex queue locally, first come
// first served, behind the session's key, and hand it on among themselves
// without a request to etcd. While another session waits they do so for 50 ms
// at most. A key whose guard was given out is not handed on: a transaction with
// that guard may be under way.
//
// # Asking for a lock, and taking it away
//
// A holder can be asked to give the lock up: [Mutex.Request] and its like close
// the channel that [Held.Requested] returns. An operator can take it away with
// [Entry.ForceRelease], which goes through the holder's session: that one ends
// the handle's context first and frees the lock behind it. The same goes for a
// handle that [WithMaxHold] ends. Work then has the time for stopping that it has
// when a lease is lost.
//
// # What is not guaranteed
//
// The time from looking at [Held.Valid] to the effect of what the program does
// next is the program's own. A write to etcd should carry [Held.Guard], or go
// through [Held.Txn]; a write to another store the [Held.Token], which that store
// must compare. In SQL this is one statement, first in the transaction that it
// protects; if it affects no row, a later holder has been here:
//
//	INSERT INTO fences (lock, token) VALUES (?, ?)
//	ON CONFLICT (lock) DO UPDATE SET token = excluded.token
//	WHERE excluded.token >= fences.token
//
// The program in examples/fencing does it with database/sql.
//
// A key that somebody deletes by hand frees the lock at once in etcd, while the
// holder learns of it after the session's next renewal, within a third of the
// TTL. Its guard fails at once.
package lock
