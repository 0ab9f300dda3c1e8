// Package election decides who of several candidates leads.
//
//	            check passes       nobody is ahead
//	Campaign ─▶ stands ──────────▶ leads ── Resign ──────────────▶ over
//	   ▲          │                 │       Transfer: to a certain one
//	   │          │ lease lost,     │       or the work in Run has returned
//	   ╰──────────┤ key moved,      │
//	              │ unhealthy       ├── lost ──────────────────────▶ over
//	              ▼                 ╰── unhealthy, preempted: over here at once,
//	         stands again               in etcd when the work has stopped
//
// Who is elected has a [Term]: a handle with a context that ends with the term,
// a fencing token that only grows, and a guard for transactions. A term ends
// here before anybody else can lead, and in etcd only when its work has
// stopped: [Election.Run] sees to the order.
//
// Candidates come back by themselves: after the loss of a lease, after a
// hand-over to another one, and once they are well again. A term does not: who
// leads again has another term, with a larger token.
//
// # How it is laid out in etcd
//
// One key for each session that leads or stands, attached to the session's
// lease, and beside it what the candidate says about itself:
//
//	/tenure/elections/<name>/<lease in hexadecimal>    what it proclaims
//	/tenure/candidates/<name>/<lease in hexadecimal>   {"session":…,"host":…,"pid":…,"since":…}
//
// The key with the lowest create revision leads. That is the layout of etcd's
// own concurrency package, so with [AtKey] an election is shared with programs
// that use concurrency.Election, with `etcdctl elect` and with the v3election
// service.
//
// # Handing over
//
// [Term.Transfer] deletes, in one transaction, the leader's key and those of
// the candidates ahead of the heir, so nobody else leads in between. Those who
// were moved find their keys gone when they look whether it is their turn, and
// stand again. Candidates of other programs do not look, so they are never
// moved: the transfer is refused. [Priority] does the same by itself.
//
// # What is not guaranteed
//
// The time from looking at [Term.Valid] to the effect of what the program does
// next is the program's own. A write to etcd should carry [Term.Guard], a write
// to another store the [Term.Token], which that store must compare.
//
// Work that does not return when its context ends holds up the next leader for
// as long as the session lives, because overlapping with it would be worse.
package election
