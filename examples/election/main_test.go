package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheStoryEndsByItself(t *testing.T) {
	var out, errs bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"--ttl", "1s"}, &out, &errs), "%s%s", &out, &errs)
	require.Empty(t, errs.String())
	rest := out.String()
	for _, text := range []string{
		"observer: nobody leads",
		"observer: elected, north.example:80",
		"1. north  leads", "2. south  stands", "3. west   stands",
		"observer: changed, north.example:8080",
		"observer: elected, west.example:80",
		"1. west   leads",
		"west crashes",
		"observer: elected,",
		"s after the crash",
		"leaves in good order",
		"observer: nobody leads",
		"that was all",
	} {
		_, after, found := strings.Cut(rest, text)
		require.Truef(t, found, "%q is missing, or comes too early, in\n%s", text, &out)
		rest = after
	}
	require.Contains(t, out.String(), "its term is over: valid false")
}

func TestExitCodes(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name string
		ctx  context.Context
		args []string
		code int
	}{
		{"help", t.Context(), []string{"-h"}, 0},
		{"an interruption before the start", ended, nil, 0},
		{"a TTL that no session takes", t.Context(), []string{"--ttl", "1ms"}, 1},
		{"a flag that is not", t.Context(), []string{"--nodes", "7"}, 2},
		{"an argument", t.Context(), []string{"now"}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.code, run(test.ctx, test.args, io.Discard, io.Discard))
		})
	}
}
