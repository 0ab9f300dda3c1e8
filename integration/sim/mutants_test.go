package sim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A mutant is the library with a mistake that somebody could make, and that
// others have made.
type mutant struct {
	name  string
	edits []edit
	rule  string // the rules of which at least one must be seen broken
	in    string // the test that plays the schedules, TestMutexHoldsUnderFaults if empty
	// test is the package and the test that catches it, if it takes a
	// coincidence that a random schedule brings about too seldom.
	test string
}

// An edit replaces the one place where old stands in a file.
type edit struct{ file, old, new string }

var mutants = []mutant{
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

// Those that random schedules are to catch are caught within a few. The budget
// makes it very improbable that one gets through by luck.
const mutantSeeds = 150

// patience is how long a test that a mutant makes hang waits.
const patience = 5 * time.Second

func TestMutantsAreCaught(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			if pkg, test, ok := strings.Cut(m.test, " "); ok {
				args := []string{"-test.run=^" + test + "$"}
				if pkg == "conformance" {
					args = append(args, fmt.Sprintf("-patience=%v", patience))
				}
				out, err := m.run(t, root, pkg, args...)
				require.Error(t, err, "not caught")
				require.Contains(t, out, "--- FAIL: "+test)
				return
			}
			out, err := m.run(t, root, "sim", "-test.run=^"+cmp.Or(m.in, "TestMutexHoldsUnderFaults")+"$", fmt.Sprintf("-sim.seeds=%d", mutantSeeds))
			require.Error(t, err, "not caught in %d schedules", mutantSeeds)
			require.Regexp(t, regexp.MustCompile(`(?m)^\s+(`+m.rule+`) on `), out, "caught for another reason")
		})
	}
}

// run runs a package's tests against the mutant.
func (m mutant) run(t *testing.T, root, pkg string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(m.build(t, root, pkg), args...).CombinedOutput()
	return string(out), err
}

// build compiles a package's tests against the mutant.
func (m mutant) build(t *testing.T, root, pkg string) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for i, e := range m.edits {
		original := filepath.Join(root, e.file)
		source := original
		if edited, ok := replace[original]; ok {
			source = edited
		}
		text, err := os.ReadFile(source)
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(text), e.old), "%s has changed: mend the mutant", e.file)
		edited := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		require.NoError(t, os.WriteFile(edited, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600))
		replace[original] = edited
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	overlayFile := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(overlayFile, overlay, 0o600))
	binary := filepath.Join(dir, "sim.test")
	cmd := exec.Command("go", "test", "-c", "-ldflags=-s -w", "-overlay", overlayFile, "-o", binary, "../"+pkg)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}
