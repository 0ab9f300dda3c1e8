package tenure_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotenure/tenure"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

func TestClientConfigIsSilentAndPlainByDefault(t *testing.T) {
	endpoints := []string{"10.0.0.1:2379", "http://10.0.0.2:2379"}
	cfg, err := tenure.ClientConfig(endpoints)
	require.NoError(t, err)
	require.Equal(t, endpoints, cfg.Endpoints)
	require.Nil(t, cfg.TLS)
	require.NotNil(t, cfg.Logger)
	require.False(t, cfg.Logger.Core().Enabled(zap.ErrorLevel), "the default logger writes")

	endpoints[0] = "changed"
	require.Equal(t, "10.0.0.1:2379", cfg.Endpoints[0], "the configuration shares the caller's slice")
}

func TestClientConfigTakesUserAndLogger(t *testing.T) {
	logger := zap.NewExample()
	cfg, err := tenure.ClientConfig([]string{"10.0.0.1:2379"}, tenure.WithUser("app", "secret"), tenure.WithClientLogger(logger))
	require.NoError(t, err)
	require.Equal(t, "app", cfg.Username)
	require.Equal(t, "secret", cfg.Password)
	require.Same(t, logger, cfg.Logger)

	cfg, err = tenure.ClientConfig([]string{"10.0.0.1:2379"}, tenure.WithClientLogger(nil))
	require.NoError(t, err)
	require.NotNil(t, cfg.Logger)
}

func TestClientConfigSpeaksTLSAsAsked(t *testing.T) {
	certFile, keyFile := writeCertificate(t, t.TempDir())
	given := &tls.Config{ServerName: "etcd.example", MinVersion: tls.VersionTLS13}

	t.Run("https alone trusts the system", func(t *testing.T) {
		for _, endpoints := range [][]string{{"https://a:2379"}, {"a:2379", "https://b:2379"}, {"unixs:///run/etcd"}} {
			cfg, err := tenure.ClientConfig(endpoints)
			require.NoError(t, err)
			require.NotNil(t, cfg.TLS, "%v would be spoken to in plain text", endpoints)
			require.Nil(t, cfg.TLS.RootCAs)
			require.False(t, cfg.TLS.InsecureSkipVerify)
		}
	})
	t.Run("a given config is copied", func(t *testing.T) {
		cfg, err := tenure.ClientConfig([]string{"https://a:2379"}, tenure.WithTLS(given))
		require.NoError(t, err)
		require.NotSame(t, given, cfg.TLS)
		require.Equal(t, "etcd.example", cfg.TLS.ServerName)
	})
	t.Run("files", func(t *testing.T) {
		cfg, err := tenure.ClientConfig([]string{"a:2379"}, tenure.WithTLSFiles(certFile, keyFile, certFile))
		require.NoError(t, err)
		require.NotNil(t, cfg.TLS.RootCAs)
		cert, err := cfg.TLS.GetClientCertificate(nil)
		require.NoError(t, err)
		require.NotEmpty(t, cert.Certificate)
	})
	t.Run("only authorities", func(t *testing.T) {
		cfg, err := tenure.ClientConfig([]string{"a:2379"}, tenure.WithTLSFiles("", "", certFile))
		require.NoError(t, err)
		require.NotNil(t, cfg.TLS.RootCAs)
		require.Nil(t, cfg.TLS.GetClientCertificate)
	})
	t.Run("a renewed certificate is used", func(t *testing.T) {
		dir := t.TempDir()
		certFile, keyFile := writeCertificate(t, dir)
		cfg, err := tenure.ClientConfig([]string{"a:2379"}, tenure.WithTLSFiles(certFile, keyFile, ""))
		require.NoError(t, err)
		before, err := cfg.TLS.GetClientCertificate(nil)
		require.NoError(t, err)
		writeCertificate(t, dir)
		after, err := cfg.TLS.GetClientCertificate(nil)
		require.NoError(t, err)
		require.NotEqual(t, before.Certificate, after.Certificate)
	})
}

func TestClientConfigRefusesWhatCannotWork(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := writeCertificate(t, dir)
	garbage := filepath.Join(dir, "garbage.pem")
	require.NoError(t, os.WriteFile(garbage, []byte("not a certificate"), 0o600))
	missing := filepath.Join(dir, "missing.pem")

	good := []string{"a:2379"}
	for name, c := range map[string]struct {
		endpoints []string
		options   []tenure.ClientOption
		says      string
		is        error
	}{
		"no endpoints":               {says: "no endpoints"},
		"empty endpoint":             {endpoints: []string{"a:2379", ""}, says: `endpoint ""`},
		"no port":                    {endpoints: []string{"http://a"}, says: "missing port"},
		"empty port":                 {endpoints: []string{"a:"}, says: "host and port are needed"},
		"no host":                    {endpoints: []string{":2379"}, says: "host and port are needed"},
		"a blank":                    {endpoints: []string{"http:// a:2379"}, says: "invalid character"},
		"unknown scheme":             {endpoints: []string{"ftp://a:2379"}, says: `unknown scheme "ftp"`},
		"password in the endpoint":   {endpoints: []string{"http://u:p@a:2379"}, says: "only scheme, host and port"},
		"path in the endpoint":       {endpoints: []string{"http://a:2379/v3"}, says: "only scheme, host and port"},
		"socket without path":        {endpoints: []string{"unix://"}, says: "no path"},
		"TLS and plain text mixed":   {endpoints: []string{"https://a:1", "http://b:1"}, says: "cannot be mixed"},
		"TLS for a plain endpoint":   {endpoints: []string{"http://a:1"}, options: opts(tenure.WithTLS(&tls.Config{})), says: "write https://"},
		"nil TLS":                    {endpoints: good, options: opts(tenure.WithTLS(nil)), says: "WithTLS was given nil"},
		"TLS twice":                  {endpoints: good, options: opts(tenure.WithTLS(&tls.Config{}), tenure.WithTLSFiles("", "", certFile)), says: "TLS is set twice"},
		"missing authorities":        {endpoints: good, options: opts(tenure.WithTLSFiles("", "", missing)), says: missing, is: os.ErrNotExist},
		"authorities without any":    {endpoints: good, options: opts(tenure.WithTLSFiles("", "", garbage)), says: garbage},
		"missing certificate":        {endpoints: good, options: opts(tenure.WithTLSFiles(missing, keyFile, "")), says: missing, is: os.ErrNotExist},
		"certificate without key":    {endpoints: good, options: opts(tenure.WithTLSFiles(certFile, "", "")), says: "needs both files"},
		"key without certificate":    {endpoints: good, options: opts(tenure.WithTLSFiles("", keyFile, "")), says: "needs both files"},
		"garbage instead of a key":   {endpoints: good, options: opts(tenure.WithTLSFiles(certFile, garbage, "")), says: garbage},
		"user without password":      {endpoints: good, options: opts(tenure.WithUser("app", "")), says: `no password for user "app"`},
		"password without user":      {endpoints: good, options: opts(tenure.WithUser("", "secret")), says: "no user name"},
		"everything wrong at a time": {endpoints: good, options: opts(tenure.WithUser("", "secret"), tenure.WithTLS(nil)), says: "WithTLS was given nil"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tenure.ClientConfig(c.endpoints, c.options...)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "tenure: client configuration: ")
			require.NotContains(t, err.Error(), "secret", "the error gives the password away")
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
		})
	}
}

// The tests below run the real client in virtual time, against a network in memory.

func TestClientComesBackSoonAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials dialTimes
		client := newClient(t, func(context.Context, string) (net.Conn, error) {
			dials.note()
			return nil, errors.New("connection refused")
		})
		client.ActiveConnection().Connect()
		time.Sleep(time.Minute)

		gaps := dials.gaps()
		require.InDelta(t, 50*time.Millisecond, gaps[0], float64(15*time.Millisecond))
		for _, gap := range gaps {
			require.LessOrEqual(t, gap, 700*time.Millisecond)
		}
		// The price: no more than some two attempts a second once the network has been gone for a while.
		require.Less(t, len(gaps), 160)
	})
}

func TestClientGivesUpAnAttemptThatIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials dialTimes
		client := newClient(t, func(context.Context, string) (net.Conn, error) {
			dials.note()
			mine, theirs := net.Pipe()
			return &silentConn{Conn: mine, theirs: theirs}, nil
		})
		client.ActiveConnection().Connect()
		time.Sleep(time.Minute)

		for _, gap := range dials.gaps() {
			require.Greater(t, gap, 2900*time.Millisecond)
			require.Less(t, gap, 3900*time.Millisecond)
		}
	})
}

func TestClientNoticesASilentConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := startServer(t)
		client := newClient(t, link.dial)
		stream, err := pb.NewWatchClient(client.ActiveConnection()).Watch(t.Context(), grpc.WaitForReady(true))
		require.NoError(t, err)
		time.Sleep(61 * time.Second) // just after a probe, so that the next one is far away

		cut := time.Now()
		link.cut()
		_, err = stream.Recv()
		require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
		require.LessOrEqual(t, time.Since(cut), 13*time.Second)
	})
}

func TestServerPutsUpWithTheProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := startServer(t)
		client := newClient(t, link.dial)
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := pb.NewWatchClient(client.ActiveConnection()).Watch(ctx, grpc.WaitForReady(true))
		require.NoError(t, err)

		time.Sleep(10 * time.Minute)
		require.Equal(t, 1, link.dials.count(), "the server closed a connection with an open stream")

		cancel()
		_, err = stream.Recv()
		require.Error(t, err)
		time.Sleep(10 * time.Minute)
		require.Equal(t, 1, link.dials.count(), "the server closed a connection without streams")
	})
}

func opts(o ...tenure.ClientOption) []tenure.ClientOption { return o }

// newClient connects through dial and is closed before the test ends.
func newClient(t *testing.T, dial func(context.Context, string) (net.Conn, error)) *clientv3.Client {
	t.Helper()
	cfg, err := tenure.ClientConfig([]string{"10.0.0.1:2379"})
	require.NoError(t, err)
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithContextDialer(dial))
	client, err := clientv3.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ignoreCancelled(client.Close())) })
	return client
}

func ignoreCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// dialTimes records when connections were attempted.
type dialTimes struct {
	mu    sync.Mutex
	times []time.Time
}

func (d *dialTimes) note() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times = append(d.times, time.Now())
}

func (d *dialTimes) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.times)
}

func (d *dialTimes) gaps() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	var gaps []time.Duration
	for i := 1; i < len(d.times); i++ {
		gaps = append(gaps, d.times[i].Sub(d.times[i-1]))
	}
	return gaps
}

// silentConn takes everything and answers nothing.
type silentConn struct {
	net.Conn
	theirs net.Conn
}

func (c *silentConn) Write(b []byte) (int, error) { return len(b), nil }

func (c *silentConn) Close() error { return errors.Join(c.Conn.Close(), c.theirs.Close()) }

// link is the way to a server that tolerates as many probes as an etcd server does by default.
type link struct {
	listener *bufconn.Listener
	dials    dialTimes

	mu    sync.Mutex
	conns []*cuttableConn
}

func startServer(t *testing.T) *link {
	t.Helper()
	l := &link{listener: bufconn.Listen(1 << 16)}
	server := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
		MinTime:             5 * time.Second, // embed.DefaultGRPCKeepAliveMinTime
		PermitWithoutStream: false,
	}))
	pb.RegisterWatchServer(server, muteWatch{})
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(l.listener) })
	t.Cleanup(func() {
		server.Stop()
		served.Wait()
	})
	return l
}

func (l *link) dial(ctx context.Context, _ string) (net.Conn, error) {
	l.dials.note()
	conn, err := l.listener.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	c := &cuttableConn{Conn: conn, gone: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
	return c, nil
}

// cut makes every connection silent, as a partition does: no error, only no bytes.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		close(c.gone)
	}
}

type cuttableConn struct {
	net.Conn
	gone chan struct{}
}

func (c *cuttableConn) Write(b []byte) (int, error) {
	select {
	case <-c.gone:
		return len(b), nil
	default:
		return c.Conn.Write(b)
	}
}

// muteWatch never answers.
type muteWatch struct{ pb.UnimplementedWatchServer }

func (muteWatch) Watch(stream pb.Watch_WatchServer) error {
	<-stream.Context().Done()
	return stream.Context().Err()
}

func writeCertificate(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return certFile, keyFile
}
