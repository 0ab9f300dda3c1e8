package mutants

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// seeds is how many random schedules a mutant is played against at the most.
// Those that schedules are to catch are caught within a few; the rest makes it
// very improbable that one gets through by luck.
var seeds = flag.Uint64("mutants.seeds", 1000, "how many schedules a mutant is played against at the most")

// To build and run a mutant costs seconds. Of those that random schedules are to
// catch, a few are drawn from each list; one that a certain test catches stays
// caught for as long as its edits fit, which is looked at each time.
var all = flag.Bool("mutants.all", false, "run every mutant")

// drawn is how many are drawn from a list.
const drawn = 2

// patience is how long a test waits that a mutant makes hang.
const patience = 5 * time.Second

// A mutant is the library with a mistake that somebody could make, and that
// others have made. It is caught by random schedules, or by certain tests if it
// takes a coincidence that schedules bring about too seldom.
type mutant struct {
	name  string
	edits []edit
	rule  string // the rules of which the schedules must see at least one broken
	in    string // the test that plays them, if it is not the usual one
	test  string // "package Test|Test": the tests that must all fail
}

// An edit replaces the one place where old stands in a file.
type edit struct{ file, old, new string }

// catch makes the mutants' mistakes and sees whether they are caught. in is the
// test that plays the schedules.
func catch(t *testing.T, in string, mutants []mutant) {
	played := 0
	for _, i := range rand.Perm(len(mutants)) {
		m := mutants[i]
		pkg, tests, certain := strings.Cut(m.test, " ")
		if !certain {
			played++
		}
		play := *all || !certain && played <= drawn
		t.Run(m.name, func(t *testing.T) {
			t.Parallel() // each is a process
			switch {
			case !play:
				m.overlay(t, t.TempDir())
			case certain:
				m.failsTests(t, pkg, tests)
			default:
				m.breaksRules(t, cmp.Or(m.in, in))
			}
		})
	}
}

func (m mutant) failsTests(t *testing.T, pkg, tests string) {
	t.Helper()
	args := []string{"-test.run=^(" + tests + ")$"}
	if pkg == "conformance" {
		args = append(args, fmt.Sprintf("-patience=%v", patience))
	}
	out, err := m.run(t, pkg, args...)
	require.Error(t, err, "not caught")
	for test := range strings.SplitSeq(tests, "|") {
		require.Contains(t, out, "--- FAIL: "+test)
	}
}

func (m mutant) breaksRules(t *testing.T, in string) {
	t.Helper()
	out, err := m.run(t, "sim", "-test.run=^"+in+"$", fmt.Sprintf("-sim.seeds=%d", *seeds))
	require.Error(t, err, "not caught in %d schedules", *seeds)
	require.Regexp(t, regexp.MustCompile(`(?m)^\s+(`+m.rule+`) on `), out, "caught for another reason")
}

// run runs a package's tests against the mutant, in the package's folder.
func (m mutant) run(t *testing.T, pkg string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(m.build(t, pkg), args...)
	cmd.Dir = filepath.Join("..", pkg)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// build compiles a package's tests against the mutant.
func (m mutant) build(t *testing.T, pkg string) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "mutant.test")
	// Without symbols it is linked in half the time.
	out, err := exec.Command("go", "test", "-c", "-ldflags=-s -w", "-overlay", m.overlay(t, dir), "-o", binary, "../"+pkg).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// overlay writes the edited files into dir, and returns the one that says what
// they replace.
func (m mutant) overlay(t *testing.T, dir string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	replace := map[string]string{}
	for i, e := range m.edits {
		original := filepath.Join(root, e.file)
		text, err := os.ReadFile(cmp.Or(replace[original], original))
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(text), e.old), "%s has changed: mend the mutant", e.file)
		edited := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		require.NoError(t, os.WriteFile(edited, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600))
		replace[original] = edited
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	file := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(file, overlay, 0o600))
	return file
}
