package keys

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestARequestIsReadAsItWasWritten(t *testing.T) {
	prefix := Space(DefaultNamespace).Requests(0xab)
	for _, r := range []Request{
		{Key: "/tenure/locks/a/ab", Revision: 7, By: "operator"},
		{Key: "no slash", Revision: 1, Force: true, By: "\"\x00"},
	} {
		got, ok := ParseRequest(prefix, Space(DefaultNamespace).Request(0xab, r.Key), []byte(r.Value()))
		require.True(t, ok)
		if r.By == "operator" {
			require.Equal(t, r, got)
		}
		require.Equal(t, r.Force, got.Force)
		require.Equal(t, r.Key, got.Key)
	}
	for name, value := range map[string]string{
		prefix:                            `{"revision":7}`,              // no key
		prefix + "k":                      `{}`,                          // no revision
		prefix + "l":                      `{"revision":0,"force":true}`, // none that etcd gives
		prefix + "m":                      `force`,                       // not ours
		Space("/x/").Request(0xab, "key"): `{"revision":7,"force":true}`, // another namespace's
		Space(DefaultNamespace).Request(0xabc, "key"): `{"revision":7}`, // another session's
	} {
		_, ok := ParseRequest(prefix, name, []byte(value))
		require.False(t, ok, name)
	}
}

func TestAForcingRequestAddsToOneThatAsks(t *testing.T) {
	ask := Request{Key: "k", Revision: 7}
	force := Request{Key: "k", Revision: 7, Force: true}
	require.True(t, ask.Covers(ask))
	require.False(t, ask.Covers(force))
	require.True(t, force.Covers(ask))
	require.False(t, force.Covers(Request{Key: "k", Revision: 8}), "a later key of the name")
}

func TestTheRangeOfASessionHasNoOtherSessionInIt(t *testing.T) {
	space := Space(DefaultNamespace)
	from, to := space.Session(0xab), space.SessionEnd(0xab)
	within := func(key string) bool { return from <= key && key < to }
	require.True(t, within(from))
	require.True(t, within(space.Request(0xab, "/tenure/locks/a/ab")))
	require.True(t, within(space.Request(0xab, "\xff\xff")))
	for _, other := range []string{space.Session(0xabc), space.Session(0xab0), space.Session(0xa), space.Request(0xab0, "k"), space.Request(0xac, "k")} {
		require.False(t, within(other), other)
	}
}
