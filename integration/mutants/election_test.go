package mutants

import "testing"

func TestMistakesInElectionsAreCaught(t *testing.T) {
	catch(t, "TestElectionHoldsUnderFaults", electionMutants)
}

var electionMutants = []mutant{
	{
		name: "a term is given up before its work has returned",
		edits: []edit{{"election/term.go",
			"\tif t.joined {\n\t\treturn t.awaitGone(ctx)\n\t}\n\treturn t.giveUp(ctx)", "\treturn t.giveUp(ctx)"}},
		rule: "E4",
	},
	{
		name:  "a campaign does not look whether its key is still there",
		edits: []edit{{"internal/waitqueue/place.go", "if p.alone && !p.movable {", "if p.alone {"}},
		rule:  "M1",
	},
	{
		name: "an observer looks at the present instead of following the revisions",
		edits: []edit{{"election/board.go",
			"for n < len(rest) && rest[n].Kv.ModRevision == rest[0].Kv.ModRevision {", "for n < len(rest) {"}},
		rule: "E3",
	},
	{
		name: "a transfer does not compare the heir, nor a proclamation what it overwrites", // one build for both
		edits: []edit{
			{"election/transfer.go", "compare := []clientv3.Cmp{t.key.Guard(), plan.heir.guard()}", "compare := []clientv3.Cmp{t.key.Guard()}"},
			{"election/proclaim.go", `clientv3.Compare(clientv3.ModRevision(key), "=", t.mod)`, `clientv3.Compare(clientv3.ModRevision(key), ">", 0)`},
		},
		test: "conformance TestATransferToACandidateThatLeavesAtTheLastMomentElectsTheNext|TestAnEarlierProclamationNeverOverwritesALaterOne",
	},
	{
		name:  "candidates of other programs are moved",
		edits: []edit{{"election/succession.go", "if foreign := slices.IndexFunc(between, func(c Candidate) bool { return c.Foreign }); foreign >= 0 {", "if foreign := -1; foreign >= 0 {"}},
		test:  "../election TestWhomATermPassesTo",
	},
}
