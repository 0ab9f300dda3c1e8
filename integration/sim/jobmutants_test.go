package sim

import (
	"fmt"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

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
}

func TestJobMutantsAreCaught(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	for test, mutants := range jobMutants {
		for _, m := range mutants {
			t.Run(m.name, func(t *testing.T) {
				out, err := m.run(t, root, "sim", "-test.timeout=2m", "-test.run=^"+test+"$", fmt.Sprintf("-sim.seeds=%d", mutantSeeds))
				require.Error(t, err, "not caught")
				require.Regexp(t, regexp.MustCompile(`(?m)^\s+(`+m.rule+`) on `), out, "caught for another reason")
			})
		}
	}
}
