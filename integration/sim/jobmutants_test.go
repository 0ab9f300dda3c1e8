package sim

import (
	"flag"
	"fmt"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each mutant costs a build of the test binary. The first of each list, the
// mistakes that have been made most often, are tried by default.
var allMutants = flag.Bool("sim.mutants", false, "try all mutants of cron and the queue")

const defaultMutants = 2

// jobMutants are those of cron and of the queue, by the test that plays
// schedules against them.
var jobMutants = map[string][]mutant{
	"TestCronHoldsUnderFaults": {
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
	},
	"TestQueueHoldsUnderFaults": {
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
	},
}

func TestJobMutantsAreCaught(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	for test, mutants := range jobMutants {
		if !*allMutants {
			mutants = mutants[:defaultMutants]
		}
		for _, m := range mutants {
			t.Run(m.name, func(t *testing.T) {
				out, err := m.run(t, root, "sim", "-test.timeout=2m", "-test.run=^"+test+"$", fmt.Sprintf("-sim.seeds=%d", mutantSeeds))
				require.Error(t, err, "not caught")
				require.Regexp(t, regexp.MustCompile(`(?m)^\s+(`+m.rule+`) on `), out, "caught for another reason")
			})
		}
	}
}
