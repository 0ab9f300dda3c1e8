package keys_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
)

func TestNamesBecomeOneSegment(t *testing.T) {
	for name, segment := range map[string]string{
		"orders":         "orders",
		"billing-3.eu":   "billing-3.eu",
		"a/b":            "a%2Fb",
		"100%":           "100%25",
		"nightly report": "nightly%20report",
		"größe":          "gr%C3%B6%C3%9Fe",
		"..":             "..",
		"\x00\xff":       "%00%FF",
	} {
		got, err := keys.Escape(name)
		require.NoError(t, err)
		require.Equal(t, segment, got)
	}
}

func TestNamesThatCannotWorkAreRefused(t *testing.T) {
	_, err := keys.Escape("")
	require.ErrorIs(t, err, keys.ErrEmptyName)
	_, err = keys.Escape(strings.Repeat("x", keys.MaxName+1))
	require.ErrorIs(t, err, keys.ErrLongName)
	_, err = keys.Space("/tenure/").Lock("")
	require.ErrorIs(t, err, keys.ErrEmptyName)
	_, err = keys.NewSpace("//")
	require.ErrorIs(t, err, keys.ErrNamespace)
}

func TestNamespacesEndInOneSlash(t *testing.T) {
	for _, in := range []string{"/team", "/team/", "/team//"} {
		space, err := keys.NewSpace(in)
		require.NoError(t, err)
		require.Equal(t, keys.Space("/team/"), space)
	}
}

func TestLayout(t *testing.T) {
	space := keys.Space("/tenure/")
	prefix, err := space.Lock("orders")
	require.NoError(t, err)
	require.Equal(t, "/tenure/locks/orders/", prefix)
	require.Equal(t, "/tenure/locks/orders/694d8f", keys.Member(prefix, 0x694d8f))
	barrier, err := space.Barrier("cyclic", "map/reduce")
	require.NoError(t, err)
	require.Equal(t, "/tenure/barriers/cyclic/map%2Freduce/", barrier)
	require.Equal(t, "/tenure/sessions/694d8f", space.Session(0x694d8f))
	require.Equal(t, "/tenure/fences/694d8f/7", space.Fence(0x694d8f, 7))
	prefix, err = space.Election("scheduler")
	require.NoError(t, err)
	require.Equal(t, "/tenure/elections/scheduler/", prefix)
	prefix, err = space.Config("limits")
	require.NoError(t, err)
	require.Equal(t, "/tenure/config/limits/", prefix)
}

func TestCandidatesOfEachElectionAreApart(t *testing.T) {
	space := keys.Space("/tenure/")
	for election, candidates := range map[string]string{
		"/tenure/elections/scheduler/": "/tenure/candidates/scheduler/",
		"/tenure/elections/a%2Fb/":     "/tenure/candidates/a%2Fb/",
		"/tenure/elections/a/b/":       "/tenure/candidates-at/%2Ftenure%2Felections%2Fa%2Fb%2F/",
		"/tenure/elections/":           "/tenure/candidates-at/%2Ftenure%2Felections%2F/",
		"/other/":                      "/tenure/candidates-at/%2Fother%2F/",
		"/other":                       "/tenure/candidates-at/%2Fother/",
	} {
		got, err := space.Candidates(election)
		require.NoError(t, err)
		require.Equal(t, candidates, got)
	}
	_, err := space.Candidates("/" + strings.Repeat("x", keys.MaxName))
	require.ErrorIs(t, err, keys.ErrLongName)
}

func TestMemberRoundTrip(t *testing.T) {
	const prefix = "/tenure/locks/orders/"
	lease, ok := keys.ParseMember(prefix, keys.Member(prefix, 0x7587abc))
	require.True(t, ok)
	require.Equal(t, clientv3.LeaseID(0x7587abc), lease)

	for _, key := range []string{"/other/1", prefix, prefix + "0x1", prefix + "00ff", prefix + "FF", prefix + "ff/1"} {
		_, ok := keys.ParseMember(prefix, key)
		require.False(t, ok, key)
	}
}

func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"orders", "a/b", "%", "%2F", "\x00", "größe", "+ +"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		segment, err := keys.Escape(name)
		if err != nil {
			require.True(t, name == "" || len(name) > keys.MaxName)
			return
		}
		require.NotContains(t, segment, "/")
		back, err := keys.Unescape(segment)
		require.NoError(t, err)
		require.Equal(t, name, back)
	})
}

func FuzzUnescape(f *testing.F) {
	for _, seed := range []string{"orders", "a%2Fb", "a%2fb", "%zz", "a b", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, segment string) {
		name, err := keys.Unescape(segment)
		if err != nil {
			return
		}
		again, err := keys.Escape(name)
		require.NoError(t, err)
		require.Equal(t, segment, again)
	})
}
