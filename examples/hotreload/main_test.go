package main

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gotenure/tenure/embedded"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheStoryEndsWithoutAFailedRequest(t *testing.T) {
	var out, problems bytes.Buffer
	require.Zero(t, run(t.Context(), nil, &out, &problems), "%s%s", &out, &problems)
	for _, text := range []string{
		"max_in_flight: 100 -> 1", `level: "INFO" -> "DEBUG"`, "second.crt", "config: rejected", `by "the story"`, ", 0 failed.",
	} {
		require.Contains(t, out.String(), text)
	}
}

func TestAServerIsChangedFromASecondTerminal(t *testing.T) {
	cluster, err := embedded.Start(t.Context(), embedded.Config{NoFsync: true, Tick: 10 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	endpoints := strings.Join(cluster.Endpoints(), ",")
	ctx, stop := context.WithCancel(t.Context())
	output, server := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"--endpoints", endpoints, "--serve"}, server, server)
		server.Close()
	}()
	lines := read(output)
	require.Regexp(t, regexp.MustCompile(`--endpoints \S+ set`), await(t, lines, "set level"))

	var out bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"--endpoints", endpoints, "set", "max_in_flight=3"}, &out, &out), &out)
	require.Contains(t, out.String(), "max_in_flight is 3")
	await(t, lines, "config: applied")
	require.Zero(t, run(t.Context(), []string{"--endpoints", endpoints, "set", "certificate.cert_file=/nowhere"}, &out, &out), &out)
	require.Contains(t, await(t, lines, "config: rejected"), "certificate")
	stop()
	require.Zero(t, <-ended)
}

// read sends what is written, line by line, until the end.
func read(from io.Reader) <-chan string {
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		text, buffer := "", make([]byte, 4096)
		for {
			n, err := from.Read(buffer)
			text += string(buffer[:n])
			for line, rest, ok := strings.Cut(text, "\n"); ok; line, rest, ok = strings.Cut(text, "\n") {
				lines <- line
				text = rest
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

func await(t *testing.T, lines <-chan string, text string) string {
	t.Helper()
	for line := range lines {
		if strings.Contains(line, text) {
			return line
		}
	}
	require.FailNow(t, "it was not said", text)
	return ""
}

func TestWrongCommandLinesAreRefused(t *testing.T) {
	for _, args := range [][]string{{"--nonsense"}, {"set"}, {"set", "level=DEBUG"}, {"--endpoints", "x", "set", "level"}} {
		require.Equal(t, 2, run(t.Context(), args, io.Discard, io.Discard), args)
	}
	require.Error(t, new(settings).set("tpyo", "1"))
	require.NoError(t, new(settings).set("certificate.key_file", "x"))
}
