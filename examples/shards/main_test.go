package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheStoryEndsWell(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), nil, &out), "%s", &out)
	require.Contains(t, out.String(), "No shard was ever worked on twice")
	require.Error(t, run(t.Context(), []string{"--nonsense"}, &out))
}
