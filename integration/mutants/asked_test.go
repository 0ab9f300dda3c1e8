package mutants

import "testing"

func TestMistakesInEndingHoldsFromOutsideAreCaught(t *testing.T) {
	catch(t, "TestMutexHoldsUnderFaults", askedMutants)
}

// askedMutants are mistakes in what asks for locks, ends them from outside and
// delays them.
var askedMutants = []mutant{
	{
		name:  "a guarded transaction does not compare the guard",
		edits: []edit{{"lock/txn.go", "If(guards...).", "If()."}},
		test:  "conformance TestALateTransactionWritesNothingAndEndsTheHandle",
	},
	{
		name:  "a request reaches whatever has the name by then",
		edits: []edit{{"session/request.go", "t != nil && t.Revision == r.Revision {", "t != nil {"}},
		test:  "conformance TestARequestNeverReachesALaterHold",
	},
	{
		name:  "a request that is faster than the lock's answer is forgotten",
		edits: []edit{{"session/track.go", "ok && r.Revision == t.Revision {", "ok && r.Revision == 0 {"}},
		test:  "conformance TestARequestThatComesBeforeTheLocksAnswerIsNotLost",
	},
	{
		name:  "a forced release deletes the key of a holder that has not been told",
		edits: []edit{{"internal/leasekey/asked.go", "holder.Revoke(ErrForced)", "go func() { _, _ = k.remove(k.epoch.Context()) }()"}},
		test:  "conformance TestAForcedReleaseEndsTheHandleBeforeTheKeyGoes",
	},
	{
		name:  "what was asked for is handed on within the session",
		edits: []edit{{"internal/waitqueue/claim.go", " && !c.Wanted()", ""}},
		test:  "sim TestALockThatWasAskedForIsNotHandedOnInTheSession",
	},
	{
		name:  "work that is told to stop has no time for it",
		edits: []edit{{"internal/leasekey/hold.go", "time.NewTimer(h.key.epoch.Margin())", "time.NewTimer(0)"}},
		test:  "sim TestWorkHasTimeToStopWhenItsHoldHasLastedTooLong",
	},
	{
		name:  "what is to outlive a crash is not renewed",
		edits: []edit{{"session/renew.go", "append(e.lingers.all(), e.lease)", "append(e.lingers.all()[:0], e.lease)"}},
		test:  "sim TestTheNextGrantWaitsAfterACrashAndOnlyThen",
	},
	{
		name:  "a clean release leaves the marker of a crash",
		edits: []edit{{"internal/leasekey/asked.go", "if k.marker != \"\" {", "if false {"}},
		test:  "conformance TestAfterACleanReleaseNobodyWaits",
	},
}
