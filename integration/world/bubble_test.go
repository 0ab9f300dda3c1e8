package world

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheChannelOfEtcdsClientIsPutBack(t *testing.T) {
	outside := valCtxCh
	require.NotNil(t, outside)
	inBubble(t, func(t *testing.T) { require.NotEqual(t, outside, valCtxCh) })
	require.Equal(t, outside, valCtxCh)
}
