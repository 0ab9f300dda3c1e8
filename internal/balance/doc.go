// Package balance decides which worker gets which shard. It has no I/O, no
// clock and no memory: the same arguments give the same answer.
//
//	where the shards are ─▶ fit? ─▶ nowhere ─▶ place ─▶ level ─▶ where they go
//	                          │ no     ▲                  │
//	                          └────────┘                  └ one step at a time, until
//	                                                        no step makes it more even
//
// # What even means
//
// A worker's target is its share of the whole weight, in proportion to what
// it asked for, and not more than its capacity. Its deviation is what it has
// less its target. A step that takes a shard of weight x from u to v is made
// only if u's deviation exceeds v's by more than x. So it makes the sum of the
// squared deviations smaller, the steps end, and what they end with is:
//
//   - With shards of weight 1 that fit everywhere, the deviations of any two
//     workers differ by one at most, and no worker is further than one from its
//     target. Equal workers differ by one shard at most.
//   - With heavier shards, two deviations differ by the weight of the lightest
//     shard of the one that has more, at most.
//   - Labels and capacities bound what is possible. Where a shard cannot go
//     straight to the worker that has too little, shards of equal weight move up
//     along a chain of workers, as in an augmenting path of a flow.
//
// # What stays where it is
//
// All that fits and is not needed for the levelling. A step goes from the
// worker that has most too much to the one that has most too little, so one
// of N workers that goes or comes moves no more than its own part of the
// shards. Shards that are on their way anyway move first, because it costs
// nobody an interruption.
package balance
