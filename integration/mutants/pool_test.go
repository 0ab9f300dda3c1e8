package mutants

import "testing"

func TestMistakesInPoolsAreCaught(t *testing.T) {
	catch(t, "TestShardsHoldUnderFaults", poolMutants)
}

var poolMutants = []mutant{
	{
		name: "a claim does not compare the owner before",
		edits: []edit{{"leaderworker/owners.go", `clientv3.Compare(clientv3.CreateRevision(key), "=", 0)},
			[]clientv3.Op{clientv3.OpPut`, `clientv3.Compare(clientv3.CreateRevision(key), ">", -1)},
			[]clientv3.Op{clientv3.OpPut`}},
		rule: "L1|L2|M3|M4|X1",
	},
	{
		name:  "the owner key is deleted when the work is told to stop",
		edits: []edit{{"leaderworker/worker.go", "\th.revoke(cause)", "\tw.owners.release(h.epoch, []*hold{h})\n\th.revoke(cause)"}},
		rule:  "L1|X1|M3",
	},
	{
		name:  "a shard that was taken is not waited for",
		edits: []edit{{"leaderworker/worker.go", "\t\t\tw.await(o.shard)", "\t\t\tw.waits[o.shard] = func() {}"}},
		rule:  "L3",
	},
	{
		name: "the loss of the lease does not end the work",
		edits: []edit{
			{"leaderworker/hold.go", "h.end(fmt.Errorf(\"%w: %q: %w\", ErrLost, shard, cause))\n\t\tlost(h)", "_ = cause"},
		},
		rule: "L1|L3|X1",
	},
	{
		name:  "shards of a worker that is gone stay with it",
		edits: []edit{{"leaderworker/plan.go", "return now.Before(p.missing[worker])", "return !p.missing[worker].IsZero()"}},
		test:  "../leaderworker TestAWorkerThatStaysAwayLosesItsShardsAndOnlyThese",
	},
	{
		name:  "a leader does not look at what was assigned",
		edits: []edit{{"leaderworker/survey.go", "had: lastAssigned(v)}", "had: map[string]string{}}"}},
		test:  "../leaderworker TestAWorkerThatStaysAwayLosesItsShardsAndOnlyThese",
	},
	{
		name: "the leader's writes are not guarded by the term, nor do they compare what they replace", // one build for both
		edits: []edit{
			{"leaderworker/lead.go", "append(l.term.Guard(), batch.compare...)...", "batch.compare..."},
			{"leaderworker/lead.go", `clientv3.Compare(clientv3.ModRevision(key), "=", mod)`, `clientv3.Compare(clientv3.ModRevision(key), ">", min(-1, mod))`},
		},
		test: "conformance TestAnAssignmentOfADeposedLeaderIsRefused|TestAnAssignmentThatArrivesLateReplacesNothing",
	},
	{
		name: "a worker's writes do not compare what they should", // one build for all; each test sees its own
		edits: []edit{
			{"leaderworker/owners.go", "txn.If(fence.Cmp()).Then(ops...)", "txn.Then(ops...)"},
			{"leaderworker/owners.go", "clientv3.OpTxn([]clientv3.Cmp{h.guard()}, ", "clientv3.OpTxn(nil, "},
			{"leaderworker/membership.go", `"=", m.mod), fence.Cmp())`, `"=", m.mod))`},
			{"leaderworker/membership.go", "case m.create > 0 && there.Run != m.record.Run:", "case false && there.Run == \"\":"},
		},
		test: "conformance TestAClaimThatArrivesLateOwnsNothing|TestAReleaseWhoseAnswerWasLostIsRepeatedAndHitsNobodyElse|" +
			"TestAJoiningThatArrivesLateLeavesNoMember|TestASecondProcessOfOneNameWaitsForTheFirst",
	},
	{
		name:  "a claim whose outcome is unknown counts as failed",
		edits: []edit{{"leaderworker/owners.go", "results[i].revision, results[i].taken = kvs[0].CreateRevision, false", "_ = record"}},
		test:  "conformance TestAClaimWhoseAnswerWasLostIsOwnedOnce",
	},
}
