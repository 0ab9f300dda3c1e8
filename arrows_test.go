package tenure_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/gotenure/tenure"

// arrows says which packages of this module each one may import. A package
// that is not named may not be there: say where it belongs first.
var arrows = map[string][]string{
	"":                     {},
	"internal/balance":     {},
	"internal/clock":       {},
	"internal/keys":        {},
	"internal/prefixwatch": {},
	"session":              {"internal/clock", "internal/keys", "internal/prefixwatch"},
	"internal/groupcommit": {},
	"internal/leasekey":    {"internal/groupcommit", "internal/keys", "internal/prefixwatch", "session"},
	"internal/waitqueue":   {"internal/keys", "internal/leasekey", "internal/prefixwatch", "session"},
	"internal/admission":   {"internal/keys", "internal/leasekey", "internal/prefixwatch", "session"},
	"lock":                 {"internal/admission", "internal/keys", "internal/leasekey", "internal/waitqueue", "session"},
	"leaderworker":         {"election", "internal/balance", "internal/keys", "internal/leasekey", "internal/prefixwatch", "session"},
	"election":             {"internal/keys", "internal/leasekey", "internal/prefixwatch", "internal/waitqueue", "session"},
	"barrier":              {"internal/keys", "internal/leasekey", "internal/prefixwatch", "session"},
	"config/internal/tree": {"internal/keys"},
	"config":               {"config/internal/tree", "internal/keys", "internal/prefixwatch"},
	"config/fleet":         {"config", "internal/keys", "internal/prefixwatch", "session"},
}

func TestImportsPointOneWay(t *testing.T) {
	for line := range strings.Lines(goList(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")) {
		fields := strings.Fields(line)
		pkg := within(fields[0])
		allowed, known := arrows[pkg]
		require.True(t, known, "package %q has no place in the picture", pkg)
		for _, path := range fields[1:] {
			if path == module || strings.HasPrefix(path, module+"/") {
				require.True(t, slices.Contains(allowed, within(path)), "%q must not import %q", pkg, within(path))
			}
		}
	}
}

// Whoever uses the library must not inherit the server.
func TestTheServerIsNotInTheModulesGraph(t *testing.T) {
	for line := range strings.Lines(goList(t, "-m", "all")) {
		for _, server := range []string{"go.etcd.io/etcd/server", "go.etcd.io/etcd/etcdutl", "go.etcd.io/bbolt", "go.etcd.io/raft"} {
			require.False(t, strings.HasPrefix(line, server), line)
		}
	}
}

func within(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

func goList(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}
