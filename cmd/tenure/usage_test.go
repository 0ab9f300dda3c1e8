//go:build unix

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/embedded"
)

func TestAMistakeIsSaidInOneLine(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	require.NoError(t, os.WriteFile(plain, []byte("no program"), 0o600))
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"lcok"}, exitUsage, "unknown command"},
		{[]string{"lock", "a"}, exitUsage, "say what to run"},
		{[]string{"lock", "a", "true"}, exitUsage, "say what to run"},
		{[]string{"lock", "a", "--"}, exitUsage, "say what to run"},
		{[]string{"lock", "--", "true"}, exitUsage, "name a lock"},
		{[]string{"lock", "a", "b", "--", "true"}, exitUsage, "only one lock"},
		{[]string{"lock", "", "--", "true"}, exitUsage, "the name is empty"},
		{[]string{"lock", "a", "--at-key", "/b", "--", "true"}, exitUsage, "not both"},
		{[]string{"lock", "--at-key", "//", "--", "true"}, exitUsage, "no key prefix"},
		{[]string{"lock", "a", "--try", "--wait", "1s", "--", "true"}, exitUsage, "[try wait]"},
		{[]string{"lock", "a", "--wait", "0s", "--", "true"}, exitUsage, "--try"},
		{[]string{"lock", "a", "--grace", "4s", "--", "true"}, exitUsage, "--ttl 12s"},
		{[]string{"lock", "a", "--grace", "-1s", "--", "true"}, exitUsage, "negative"},
		{[]string{"lock", "a", "--ttl", "1ms", "--", "true"}, exitUsage, "TTL 1ms is not between"},
		{[]string{"lock", "a", "--nosuch", "--", "true"}, exitUsage, "--nosuch"},
		{[]string{"lock", "a", "--", "no-such-program"}, exitNotFound, "not found"},
		{[]string{"lock", "a", "--", plain}, exitNotStarted, "permission denied"},
		{[]string{"queue"}, exitUsage, "name a lock"},
		{[]string{"queue", "a", "-o", "yaml"}, exitUsage, "must be table or json"},
		{[]string{"release"}, exitUsage, "name a lock"},
		{[]string{"release", "a", "--wait", "0s"}, exitUsage, "longer than 0"},
		{[]string{"release", "a", "--namespace", "/"}, exitUsage, "namespace"},
		{[]string{"sessions", "a"}, exitUsage, "a"},
		{[]string{"sessions", "--namespace", "/"}, exitUsage, "namespace"},
		{[]string{"sessions", "--timeout", "0s"}, exitUsage, "--timeout"},
		{[]string{"sessions", "--endpoints", "nowhere"}, exitUsage, "nowhere"},
		{[]string{"sessions", "--cert", "/no/such/file"}, exitUsage, "certificate"},
		{[]string{"sessions", "--user", "root"}, exitUsage, "needs a password"},
		{[]string{"sessions", "--user", "root:secret"}, exitUsage, "takes the name only"},
	} {
		tool := launch(t, cluster, c.args...)
		require.Equal(t, c.code, tool.code(), "%q: %s", c.args, &tool.stderr)
		require.Contains(t, tool.complaint(), c.says, "%q", c.args)
		require.Empty(t, tool.exactly)
	}
}

func TestAnUnreachableEtcdIsSaidInTime(t *testing.T) {
	for _, args := range [][]string{
		{"lock", "a", "--", "true"}, {"lock", "a", "--try", "--", "true"}, {"queue", "a"}, {"release", "a"}, {"sessions"},
	} {
		args = append([]string{"--endpoints", "127.0.0.1:1,127.0.0.1:2", "--timeout", "300ms"}, args...)
		tool := launch(t, nil, args...)
		require.Equal(t, exitUnreachable, tool.code(), &tool.stderr)
		require.Contains(t, tool.complaint(), "etcd cannot be reached at 127.0.0.1:1, 127.0.0.1:2 within 300ms")
		require.Contains(t, tool.complaint(), "connection refused")
	}
}

func TestThePasswordComesFromAFileOrTheEnvironment(t *testing.T) {
	cfg := fast()
	cfg.RootPassword = "open sesame"
	cfg.TLS = &embedded.TLS{}
	secured, err := embedded.Start(within(t), cfg)
	require.NoError(t, err)
	defer secured.Close()
	_, _, ca := secured.TLSFiles()
	right, wrong := filepath.Join(t.TempDir(), "right"), filepath.Join(t.TempDir(), "wrong")
	require.NoError(t, os.WriteFile(right, []byte("open sesame\n"), 0o600))
	require.NoError(t, os.WriteFile(wrong, []byte("open barley\n"), 0o600))

	run := func(args ...string) *tool {
		return launch(t, secured, append([]string{"--cacert", ca}, args...)...)
	}
	require.Zero(t, run("sessions", "--user", "root", "--password-file", right).code())
	require.Equal(t, 6, run("lock", "a", "--user", "root", "--password-file", right, "--", "SELF", "program-exit", "6").code())

	tool := run("sessions", "--user", "root", "--password-file", wrong)
	require.Equal(t, exitFailure, tool.code())
	require.Contains(t, tool.complaint(), "authentication failed")
	tool = run("lock", "a", "--", "SELF", "program-exit", "0")
	require.Equal(t, exitFailure, tool.code(), &tool.stderr)
	require.Contains(t, tool.complaint(), "user name is empty")

	t.Setenv("TENURE_PASSWORD", "open sesame")
	require.Zero(t, run("sessions", "--user", "root").code())
}
