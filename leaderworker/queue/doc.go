// Package queue is a durable work queue in etcd, for tasks that must not be lost:
// as many as etcd is good for, which is thousands and not millions.
//
//	Enqueue ──▶ waiting ──▶ claimed ──▶ handler ──▶ done
//	  (delay)      ▲           │           │
//	               │           │           ├── error: back, after the backoff
//	               │           ▼           ├── the consumer stops: back, not counted
//	               └── the process died ◀──┘
//	                                       └── tried too often, or Permanent ──▶ dead letter ──▶ Replay, Discard
//
// # What is guaranteed
//
// A task that Enqueue has accepted is there until it is done, cancelled, or
// discarded as a dead letter, whoever crashes. At most one process believes to
// have it. Of tasks with one dedupe key one is accepted, until the retention after
// it was done is over.
//
// A task can be tried twice, if a process dies between its last effect and the
// acknowledgement. Task.ID is the same both times, and Task.Guard and Task.Token
// tell the two apart. Tasks are taken by priority and then by age, as far as a
// consumer knows them: that is an intention and no guarantee.
//
// # How it works
//
// A task keeps its place in the queue while it is claimed. The claim is a key of
// its own, under the lease of the consumer's session: when the process dies the key
// goes, and the task is there to be claimed again without anybody doing anything.
// An acknowledgement compares the claim's revision, which is the token, and removes
// both. Every claim writes the task's number of tries, so a task that kills its
// processes ends among the dead letters.
//
// The tasks are spread over eight ranges of keys. Each is looked after by one of
// the consumers that have room, which follows it by a watch and knows its tasks by
// heart; so claiming reads nothing, and consumers do not try for the same task. One
// that has had no room for a quarter of a second, while tasks wait, leaves its
// ranges to those that have. Small transactions share commits.
//
// # Limits
//
// A queue holds WithLimit tasks and not more, give or take what several producers
// enqueue at the same instant; then Enqueue returns ErrFull. The limit times the
// largest payload may be a gigabyte, half of what etcd allows by default, so a
// queue alone never fills it. etcd keeps old versions until they are compacted:
// let it compact by itself (--auto-compaction-retention).
package queue
