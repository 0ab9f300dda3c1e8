// Package leaderworker shares shards out among the workers of a pool, so that
// each shard has one owner at a time.
//
//	                 the leader assigns it
//	nobody's ──▶ claimed ──▶ Work runs ──▶ revoked ──▶ drains ──▶ released ──▶ claimed by the next
//	   ▲                        │                         │
//	   │                        ▼ lease lost              ▼ does not return in time
//	   ╰──── Work has been told, in time ◀────────── reported; the shard stays
//
// [Run] makes a process a worker. The workers elect one of them to lead. The
// leader decides who is to have which shard; the workers see to it that none
// has two owners: a shard is owned by an owner key, which is created only while
// there is none, and deleted only when [Config.Work] has returned. So whatever
// a leader does, or two of them, a shard is never worked on twice; a leader can
// only be slow, or unfair.
//
// What Work gets is a [Shard]: a handle with a context that ends with the
// ownership, a fencing token that only grows, and a guard for transactions.
//
// # How shards are shared
//
// By the workers' shares, to within one shard; with weights, to within the
// weight of a shard; as far as labels and capacities allow. A shard stays where
// it is unless it has to move: one of N workers that comes or goes moves no more
// than its own part. A leader that takes over reads what was assigned and moves
// nothing. At most [Config.MaxMoves] shards at a time are taken from workers
// that are well.
//
// The shards of a worker that leaves are assigned anew at once, and handed over
// one by one as their Work returns. Those of a worker that is gone are kept for
// it for [Config.Grace] behind the end of its lease.
//
// # How it is laid out in etcd
//
//	/tenure/pools/<name>/leader/<lease>       the election, see package election
//	/tenure/pools/<name>/members/<worker>     a worker that is there, under its lease
//	/tenure/pools/<name>/assigned/<worker>    the shards that it is to own, and why
//	/tenure/pools/<name>/owners/<shard>       the owner, under its lease
//	/tenure/pools/<name>/plan                 shards that no worker can have
//
// The leader follows all of it with one watch; a worker watches its own
// assignment, and the owner keys that it waits for. A handoff is three commits:
// the assignment, the release, the claim. Up to 100 shards share each.
//
// # What is not guaranteed
//
// The time from looking at [Shard.Valid] to the effect of what the program does
// next is the program's own. A write to etcd should carry [Shard.Guard], a write
// to another store the [Shard.Token], which that store must compare.
//
// Work that does not return when it is told to keeps its shard from everybody,
// because two owners would be worse. Work that goes on after the shard was lost
// overlaps with the next owner's.
//
// Workers see changes of the assignment as etcd orders them, but not all at one
// instant: shards of one pool are independent of each other.
package leaderworker
