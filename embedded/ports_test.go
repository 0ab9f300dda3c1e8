package embedded_test

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"testing"

	"github.com/gotenure/tenure/embedded"
	"github.com/stretchr/testify/require"
)

// takePort listens on a port until the end of the test.
func takePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l.Addr().(*net.TCPAddr).Port
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().(*net.TCPAddr).Port
}

func clientPorts(ports ...int) func(*embedded.Config) {
	return func(c *embedded.Config) { c.ClientPorts = ports }
}

func peerPorts(ports ...int) func(*embedded.Config) {
	return func(c *embedded.Config) { c.PeerPorts = ports }
}

func TestGivenPortsAreUsed(t *testing.T) {
	client, peer := freePort(t), freePort(t)
	cluster := start(t, members(2), clientPorts(0, client), peerPorts(peer, 0))
	require.Equal(t, "http://127.0.0.1:"+strconv.Itoa(client), cluster.Endpoints()[1])
	require.Equal(t, strconv.Itoa(peer), cluster.Member(0).Config().ListenPeerUrls[0].Port())
	putAndGet(t, cluster.Client())
}

func TestFreePortsAreBelowThoseOfOutgoingConnections(t *testing.T) {
	for _, endpoint := range start(t, members(3)).Endpoints() {
		u, err := url.Parse(endpoint)
		require.NoError(t, err)
		port, err := strconv.Atoi(u.Port())
		require.NoError(t, err)
		require.Less(t, port, 32768)
	}
}

func TestAGivenPortThatIsTakenIsSaid(t *testing.T) {
	taken := takePort(t)
	for name, ports := range map[string]func(*embedded.Config){
		"clients": clientPorts(0, taken, 0),
		"peers":   peerPorts(0, taken, 0),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var heard logged
			err := refused(t, dir, members(3), ports, func(c *embedded.Config) { c.Logger = logSpy(heard.see) })
			require.Empty(t, heard.messages, "a member was started")
			require.ErrorIs(t, err, embedded.ErrPortTaken)
			require.ErrorContains(t, err, "port "+strconv.Itoa(taken)+" of member-1")
		})
	}
}

func TestAKeptFolderAndItsPorts(t *testing.T) {
	t.Run("clients' ports may change", func(t *testing.T) {
		dir, port := t.TempDir(), freePort(t)
		fill(t, dir, 1)
		cluster := start(t, in(dir), clientPorts(port))
		require.Equal(t, []string{"http://127.0.0.1:" + strconv.Itoa(port)}, cluster.Endpoints())
		putAndGet(t, cluster.Client())
	})
	t.Run("clients' ports that are taken are replaced", func(t *testing.T) {
		dir := t.TempDir()
		endpoints := fill(t, dir, 3)
		u, err := url.Parse(endpoints[1])
		require.NoError(t, err)
		thief, err := net.Listen("tcp", u.Host)
		require.NoError(t, err)
		defer thief.Close()
		cluster := start(t, in(dir))
		require.Equal(t, endpoints[0], cluster.Endpoints()[0])
		require.NotEqual(t, endpoints[1], cluster.Endpoints()[1])
		putAndGet(t, cluster.Client())
	})
	t.Run("peers' ports that are taken are said", func(t *testing.T) {
		dir := t.TempDir()
		cluster, err := embedded.Start(within(t), fast(members(3), in(dir)))
		require.NoError(t, err)
		peer := cluster.Member(2).Config().ListenPeerUrls[0]
		require.NoError(t, cluster.Close())
		thief, err := net.Listen("tcp", peer.Host)
		require.NoError(t, err)
		defer thief.Close()
		err = refused(t, dir)
		require.ErrorIs(t, err, embedded.ErrPortTaken)
		require.ErrorContains(t, err, "port "+peer.Port()+" of member-2")
	})
	t.Run("one member alone may change its peer port", func(t *testing.T) {
		dir, port := t.TempDir(), freePort(t)
		fill(t, dir, 1)
		putAndGet(t, start(t, in(dir), peerPorts(port)).Client())
	})
	t.Run("clients may get what was a peer's", func(t *testing.T) {
		dir := t.TempDir()
		cluster, err := embedded.Start(within(t), fast(in(dir)))
		require.NoError(t, err)
		peer, err := strconv.Atoi(cluster.Member(0).Config().ListenPeerUrls[0].Port())
		require.NoError(t, err)
		require.NoError(t, cluster.Close())
		putAndGet(t, start(t, in(dir), clientPorts(peer)).Client())
	})
	t.Run("several may not", func(t *testing.T) {
		dir := t.TempDir()
		fill(t, dir, 2)
		err := refused(t, dir, peerPorts(freePort(t), 0))
		require.ErrorIs(t, err, embedded.ErrDirMismatch)
		require.ErrorContains(t, err, "the peer port of member-0")
	})
}

func TestConfigsThatCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		adjust func(*embedded.Config)
		says   string
	}{
		"negative number of members":     {members(-1), "-1 members"},
		"more ports than members":        {clientPorts(1, 2), "2 ports for 1 members"},
		"fewer ports than members":       {func(c *embedded.Config) { c.Members, c.PeerPorts = 3, []int{1, 2} }, "2 ports for 3 members"},
		"a port twice":                   {func(c *embedded.Config) { c.ClientPorts, c.PeerPorts = []int{4711}, []int{4711} }, "port 4711 is given twice"},
		"no such port":                   {clientPorts(65536), "port 65536"},
		"negative port":                  {peerPorts(-1), "port -1"},
		"negative tick":                  {func(c *embedded.Config) { c.Tick = -1 }, "tick -1ns"},
		"tick below a millisecond":       {func(c *embedded.Config) { c.Tick = 1500 * 1000 }, "tick 1.5ms: whole milliseconds"},
		"election timeout below":         {func(c *embedded.Config) { c.Tick, c.ElectionTimeout = 1e9, 2e9 }, "election timeout 2s: it has to be between 5 ticks of 1s"},
		"election timeout above":         {func(c *embedded.Config) { c.ElectionTimeout = 51e9 }, "election timeout 51s"},
		"election timeout not in ms":     {func(c *embedded.Config) { c.ElectionTimeout = 100*1e6 + 1 }, "whole milliseconds"},
		"negative quota":                 {func(c *embedded.Config) { c.QuotaBytes = -1 }, "quota of -1 bytes"},
		"negative retention":             {func(c *embedded.Config) { c.Retention = -1 }, "retention -1ns"},
		"retention too short":            {func(c *embedded.Config) { c.Retention = 1 }, "retention 1ns: at least 10ms"},
		"certificate without key":        {func(c *embedded.Config) { c.TLS = &embedded.TLS{CertFile: "a"} }, "TLS needs both files"},
		"several things wrong at a time": {func(c *embedded.Config) { c.Members, c.QuotaBytes = -1, -1 }, "quota of -1 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, refused(t, t.TempDir(), c.adjust), c.says)
		})
	}
}

func TestAContextThatHasEndedStartsNothing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := net.ErrClosed
	cancel(reason)
	leavesNothing(t, func() {
		_, err := embedded.Start(ctx, fast())
		require.ErrorIs(t, err, reason)
	})
}
