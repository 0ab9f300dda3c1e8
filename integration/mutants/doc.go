// Package mutants makes mistakes in the library on purpose, one at a time, and
// sees to it that the simulations or the conformance tests catch each of them:
// a checker that catches none is worth nothing.
//
// A mutant is compiled from the shipped sources with a few lines changed, by
// `go test -overlay`, so the library has no hooks for them, and an edit that no
// longer fits fails the test.
//
//	go test ./integration/mutants                a few, drawn anew each time; of the others, whether they fit
//	go test ./integration/mutants -mutants.all   all of them
//	go test ./integration/mutants -mutants.all -run 'Locks/the_deadline'
package mutants
