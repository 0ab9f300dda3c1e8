package mutants

import "testing"

func TestMistakesInCronAreCaught(t *testing.T) {
	catch(t, "TestCronHoldsUnderFaults", cronMutants)
}

var cronMutants = []mutant{
	{
		name: "a claim does not compare what was decided before",
		edits: []edit{{"leaderworker/cron/commit.go",
			"\t\tIf:   []clientv3.Cmp{unchanged(key, en.rev)},\n\t\tElse: []clientv3.Op{clientv3.OpGet(key)},\n\t}\n\tif d.start",
			"\t\tElse: []clientv3.Op{clientv3.OpGet(key)},\n\t}\n\tif d.start"}},
		rule: "T1",
	},
	{
		name:  "the claim's key does not name the tick",
		edits: []edit{{"leaderworker/cron/commit.go", `return c.stateKey(job) + "/" + id`, `return c.stateKey(job) + "/run"`}},
		rule:  "T1|T2",
	},
	{
		name:  "a claim does not say that the tick is decided",
		edits: []edit{{"leaderworker/cron/decide.go", "d.changed, d.next.Cursor = true, tick\n\treturn true", "d.changed = true\n\treturn true"}},
		rule:  "T1",
	},
	{
		name:  "a claim outlives its process",
		edits: []edit{{"leaderworker/cron/commit.go", "clientv3.OpPut(a.key, a.claim, clientv3.WithLease(e.epoch.Lease()))", "clientv3.OpPut(a.key, a.claim)"}},
		rule:  "T2",
	},
}

func TestMistakesInTheQueueAreCaught(t *testing.T) {
	catch(t, "TestQueueHoldsUnderFaults", queueMutants)
}

var queueMutants = []mutant{
	{
		name: "an acknowledgement does not compare the token",
		edits: []edit{{"leaderworker/queue/task.go",
			"\t\tIf:   t.Guard(),\n\t\tThen: append([]clientv3.Op{clientv3.OpDelete(key)}",
			"\t\tThen: append([]clientv3.Op{clientv3.OpDelete(key)}"}},
		rule: "Q1|Q2",
	},
	{
		name: "a claim does not compare that nobody else has the task",
		edits: []edit{{"leaderworker/queue/claim.go",
			"unchanged(c.todo(p), it.mod), absent(c.claim(p.id)), a.fence.Cmp()}", "a.fence.Cmp()}"}},
		rule: "Q2",
	},
	{
		name: "a task is taken out of the queue when it is claimed",
		edits: []edit{{"leaderworker/queue/claim.go",
			"clientv3.OpPut(c.todo(p), encode(tried)),", "clientv3.OpDelete(c.todo(p)),"}},
		rule: "Q1",
	},
	{
		name: "the claim of a task outlives its process",
		edits: []edit{{"leaderworker/queue/claim.go",
			"clientv3.OpPut(c.claim(p.id), encode(a.claim), lease),", "clientv3.OpPut(c.claim(p.id), encode(a.claim)),"}},
		rule: "Q1",
	},
	{
		name:  "a dedupe key is not compared",
		edits: []edit{{"leaderworker/queue/enqueue.go", "\t\t\ttxn.If = append(txn.If, absent(key))\n", ""}},
		rule:  "Q3",
	},
	{
		name:  "a slot is not compared",
		edits: []edit{{"leaderworker/queue/claim.go", "\t\ttxn.If = append(txn.If, absent(key))\n", ""}},
		rule:  "bound",
	},
}
