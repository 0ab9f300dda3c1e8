// Package cron runs jobs at times, each tick of each job in one of the processes
// that share a scheduler.
//
//	                    ┌── dropped: too late, or the run before goes on ──┐
//	tick is due ────────┤                                                  ├──▶ record
//	                    └──▶ (waits) ──▶ claimed ──▶ Run ──▶ done, failed ──┘
//	                                       ▲          │
//	                                       │          │ the process died, was cut off, or stops
//	                                       └──────────┘ (at most Job.Attempts deaths: lost)
//
// # What is guaranteed
//
// Each tick of a job is claimed once, by a transaction that compares everything
// that was decided about the job before; its key in etcd names the tick. What was
// claimed is run at least once: if the process dies, another one claims the same
// tick again, and the record says from whom. A later claim has a larger token, and
// a claim's Guard fails once it was taken over. No tick is claimed and then
// forgotten: each ends with a record.
//
// A run can happen twice, if a process dies between its last effect and the
// record of it. Run.ID is the same both times, and Run.Guard and Run.Token tell
// the two apart.
//
// # When
//
// Parse says what an expression means where the clocks change. Ticks are decided
// by the clock of each process: a process whose clock is ahead claims early, and
// one whose clock is behind finds the tick claimed. It does not run it again, for
// the state of a job says up to which tick everything was decided.
//
// Job.Missed says what becomes of ticks that nobody could claim in time, Job.Overlap
// of those that are due while a run goes on. A job that no process has run before
// begins with the next tick, and one that is due once with that, also if it has
// passed. Nothing grows for ever: of each job there is one state, its claims, and
// Job.History records.
//
// # No leader
//
// Every process decides for itself, by the same function of the job, its state, the
// claims that exist and the time, and writes the decision if nothing has changed
// meanwhile. All follow the states by one watch. They try to write in an order that
// differs from tick to tick, within 20 ms, so that mostly one of them does.
package cron
