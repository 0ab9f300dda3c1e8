// Package sim plays random faults against Tenure in virtual time and checks
// what its users believed against what etcd did.
//
// A schedule of faults is drawn from a seed: links that are cut in one or both
// directions, answers that are lost after the commit, connections that break
// or go silent, crashes of the server, compactions, processes that die. Clocks
// drift. The seed fixes the faults, not how goroutines interleave; a failing
// run prints both the seed and the schedule.
//
//	go test ./integration/sim -sim.seeds=1000 -sim.first=17
//
// Package mutants sees to it that these checks catch mistakes.
package sim
