package mutants

import "testing"

func TestMistakesInBarriersAreCaught(t *testing.T) {
	catch(t, "TestBarriersHoldUnderFaults", barrierMutants)
}

var barrierMutants = []mutant{
	{
		name: "a late decision is carried out",
		edits: []edit{
			{"barrier/keep.go", `clientv3.Compare(clientv3.ModRevision(k.site.record()), "=", k.ticket.after),`, ""},
			{"barrier/keep.go", `clientv3.Compare(clientv3.CreateRevision(k.site.gate()), "=", k.ticket.at),`, ""},
		},
		rule: "B3",
	},
	{
		name:  "a party too many passes with the others",
		edits: []edit{{"barrier/verdict.go", "t.at > opened.Last:", "false:"}},
		rule:  "B3",
	},
	{
		name:  "a gate whose keeper died is taken for open",
		edits: []edit{{"barrier/verdict.go", "	case v.mod == t.after:\n		return broken, died", "	case v.mod == t.after:\n		return passed, breach{}"}},
		rule:  "B3",
	},
	{
		name:  "the exit opens when the first wants to leave",
		edits: []edit{{"barrier/judge.go", "here = here && m.Leaving", "here = here || m.Leaving"}},
		rule:  "B2",
	},
	{
		name:  "the gate opens without the action",
		edits: []edit{{"barrier/keep.go", "case d.open == nil || !act.ended():", "case d.open == nil:"}},
		rule:  "act",
	},
	{
		name:  "the first word of a watch is taken for a release",
		edits: []edit{{"barrier/barrier.go", "v.record.Releases > releases:", "v.record.Releases >= releases:"}},
		rule:  "B1",
	},
	{
		name:  "whoever sets a latch again closes it",
		edits: []edit{{"barrier/latch.go", `If(clientv3.Compare(clientv3.CreateRevision(l.site.latch()), "=", 0)).`, "If()."}},
		rule:  "B4",
	},
	{
		name:  "a party that gives up leaves the gate to its lease",
		edits: []edit{{"barrier/finish.go", "		if !a.breakGate(ctx, b) {\n			return nil, false\n		}\n		a.letGo()\n		return known, true", "		a.key.Discard(a.letGo)\n		return known, true"}},
		rule:  "left",
	},
	{
		name:  "a dead party counts as one that came",
		edits: []edit{{"barrier/judge.go", "		case now.has(m.Key, m.create):\n", "		case now.has(m.Key, m.create), true:\n"}},
		test:  "conformance TestADeadPartyIsNotCounted",
	},
	{
		name:  "a party that was cut off takes what it missed for a breach",
		edits: []edit{{"barrier/finish.go", "	case gone && !a.stays():\n", "	case gone && !a.stays() && false:\n"}},
		test:  "conformance TestAPartyThatWasCutOffLearnsThatItHasPassed",
	},
}
