package mutants

import "testing"

func TestMistakesInLocksAndSessionsAreCaught(t *testing.T) {
	catch(t, "TestMutexHoldsUnderFaults", lockMutants)
}

var lockMutants = []mutant{
	{
		name:  "the deadline counts from the receipt of the answer",
		edits: []edit{{"session/renew.go", "err := e.renewOnce()\n", "err := e.renewOnce()\n\t\tsent = clock.Now()\n"}},
		test:  "sim TestALeaseEndsHereBeforeItEndsAtTheServer",
	},
	{
		name:  "the lease is trusted for longer than its TTL",
		edits: []edit{{"session/epoch.go", "return ttl - min(", "return ttl + min("}},
		rule:  "X1|M1",
	},
	{
		name:  "the end of the one right ahead is taken for the own turn",
		edits: []edit{{"internal/waitqueue/place.go", "if p.alone && !p.movable {", "if true {"}},
		rule:  "M1|M4",
	},
	{
		name:  "a watch that has nothing new to tell is taken for a deletion",
		edits: []edit{{"internal/waitqueue/wait.go", "return first\n", "return update.Reset\n"}},
		test:  "conformance TestWaitingThroughACompactionKeepsThePlace",
	},
	{
		name:  "a creation whose outcome is unknown is forgotten",
		edits: []edit{{"internal/leasekey/create.go", "k.doubt = &fence", "k.doubt = nil"}},
		test:  "conformance TestATryAfterALockThatWasGivenUpFindsNoOldKey",
	},
	{
		name: "the key of an attempt that was given up is adopted",
		edits: []edit{
			{"internal/leasekey/create.go", "k.doubt = &fence", "k.doubt = nil"},
			{"internal/leasekey/create.go",
				"return nil, fmt.Errorf(\"%w: key %q, create revision %d\", ErrForeignKey, k.name, own[0].CreateRevision)",
				"k.revision = own[0].CreateRevision\n\t\t\treturn nil, nil"},
			{"internal/leasekey/create.go",
				"\t\tPause(ctx, failures)\n",
				"\t\tif found := c.Keys[0].revision; found > 0 {\n\t\t\treturn Created{Done: true, Revision: found}, nil\n\t\t}\n\t\tPause(ctx, failures)\n"},
		},
		test: "conformance TestATryAfterALockThatWasGivenUpFindsNoOldKey",
	},
	{
		name:  "the deletion does not compare the revision",
		edits: []edit{{"internal/leasekey/key.go", "If:   []clientv3.Cmp{k.Guard()},", ""}},
		test:  "conformance TestARetriedUnlockNeverDeletesALaterAcquisition",
	},
	{
		name:  "a creation does not compare the fence",
		edits: []edit{{"internal/leasekey/create.go", "len(c.If)+1), fence.Cmp())", "len(c.If)+1))"}},
		test:  "conformance TestALockThatArrivesAfterItsCallerGaveUpLeavesNoKey",
	},
	{
		name:  "a key is handed on although a guard was given out",
		edits: []edit{{"internal/waitqueue/claim.go", "reusable := !guarded && c.Lost()", "reusable := c.Lost()"}},
		test:  "conformance TestAKeyWhoseGuardWasGivenOutIsNotHandedOn",
	},
	{
		name:  "a failed deletion is not repeated",
		edits: []edit{{"internal/leasekey/key.go", "\t\tif ended := cause(ctx, k.epoch); ended != nil {", "\t\tif ended := err; ended != nil {"}},
		rule:  "M[3-6]",
	},
	{
		name:  "a reader does not wait for the writers ahead",
		edits: []edit{{"internal/admission/rule.go", "behindLast(ahead, Key.Writes)", "behindLast(nil, Key.Writes)"}},
		in:    "TestReadersAndWritersUnderFaults", rule: "R[12]",
	},
	{
		name:  "a writer takes one who has become a reader for gone",
		edits: []edit{{"internal/admission/rw.go", "if step.Alone && (gone || side == Read) {", "if step.Alone && (gone || true) {"}},
		in:    "TestReadersAndWritersUnderFaults", rule: "R[12]",
	},
	{
		name:  "the guard of a writer holds for the reader that it becomes",
		edits: []edit{{"internal/admission/bid.go", "clientv3.Compare(clientv3.ModRevision(b.place.Name())", "clientv3.Compare(clientv3.CreateRevision(b.place.Name())"}},
		test:  "conformance TestADowngradeLetsReadersInAndNoWriterInBetween",
	},
	{
		name:  "who is admitted need not fit",
		edits: []edit{{"internal/admission/rule.go", "case sum+weight <= limit.N:", "case sum < limit.N:"}},
		in:    "TestPermitsUnderFaults", rule: "S[12]",
	},
	{
		name:  "who was admitted does not say so",
		edits: []edit{{"internal/admission/permits.go", "q.announce(p, value())", "value()"}},
		test:  "conformance TestEveryRequestIsServedInTheOrderItCame",
	},
	{
		name:  "several locks are taken in the order in which they are named",
		edits: []edit{{"lock/all.go", "return cmp.Compare(p.prefix, q.prefix) })", "return 0 * cmp.Compare(p.prefix, q.prefix) })"}},
		test:  "conformance TestCallersOfAllNeverWaitForEachOther",
	},
}
