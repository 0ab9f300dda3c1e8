package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGetAllocatesNothing(t *testing.T) {
	v := &Value[sample]{}
	v.current.Store(&sample{N: 1})
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if v.Get().N != 1 {
			t.Error("another value")
		}
	}))
}

func BenchmarkGet(b *testing.B) {
	v := &Value[sample]{}
	v.current.Store(&sample{N: 1})
	for b.Loop() {
		_ = v.Get().N
	}
}
