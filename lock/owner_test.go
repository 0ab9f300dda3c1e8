package lock

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnOwnerIsWhatWasEncoded(t *testing.T) {
	for _, name := range []string{"billing-3", `with "quotes" and \`, "größe\n"} {
		at := time.Date(2026, 3, 1, 12, 30, 0, 250_000_000, time.FixedZone("", 3600))
		var owner Owner
		require.NoError(t, json.Unmarshal([]byte(newOwnerPrefix(name).since(at)), &owner))
		require.Equal(t, name, owner.Session)
		require.Equal(t, pid, owner.PID)
		require.Equal(t, host(), owner.Host)
		require.True(t, owner.Since.Equal(at))
	}
}
