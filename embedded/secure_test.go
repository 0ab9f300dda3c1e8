package embedded_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/embedded"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func withTLS(t embedded.TLS) func(*embedded.Config) {
	return func(c *embedded.Config) { c.TLS = &t }
}

func password(p string) func(*embedded.Config) {
	return func(c *embedded.Config) { c.RootPassword = p }
}

// turnedAway makes sure that a client with this configuration cannot write.
func turnedAway(t *testing.T, cluster *embedded.Cluster, cfg clientv3.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(within(t), 300*time.Millisecond)
	defer cancel()
	_, err := newClient(t, cfg).Put(ctx, "intruder", "was here")
	require.Error(t, err)
	resp, err := cluster.Client().Get(within(t), "intruder")
	require.NoError(t, err)
	require.Empty(t, resp.Kvs)
}

// handshake returns why the first member refuses a TLS connection, or nil.
func handshake(t *testing.T, cluster *embedded.Cluster, cfg *tls.Config) error {
	t.Helper()
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(cluster.Endpoints()[0], "https://"), cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	// With TLS 1.3 the client learns from the first answer only that its certificate was not accepted.
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1))
	return err
}

func TestThrowAwayTLS(t *testing.T) {
	cluster := start(t, members(3), withTLS(embedded.TLS{}))
	require.Contains(t, cluster.Endpoints()[0], "https://")
	putAndGet(t, cluster.Client())
	client, err := cluster.NewClient()
	require.NoError(t, err)
	defer client.Close()
	putAndGet(t, client)

	t.Run("the files are for clients elsewhere", func(t *testing.T) {
		cfg, err := tenure.ClientConfig(cluster.Endpoints(), tenure.WithTLSFiles(cluster.TLSFiles()))
		require.NoError(t, err)
		putAndGet(t, newClient(t, cfg))
	})
	t.Run("plain text is refused", func(t *testing.T) {
		cfg := cluster.ClientConfig()
		cfg.TLS = nil
		cfg.Endpoints = []string{strings.Replace(cfg.Endpoints[0], "https://", "http://", 1)}
		turnedAway(t, cluster, cfg)
	})
	t.Run("nobody else trusts it", func(t *testing.T) {
		var unknown x509.UnknownAuthorityError
		require.ErrorAs(t, handshake(t, cluster, &tls.Config{}), &unknown)
		require.NoError(t, handshake(t, cluster, &tls.Config{RootCAs: cluster.ClientConfig().TLS.RootCAs}))
	})
	t.Run("no other cluster has the same authority", func(t *testing.T) {
		other := start(t, withTLS(embedded.TLS{}))
		require.Error(t, handshake(t, cluster, other.ClientConfig().TLS))
	})
}

func TestThrowAwayTLSWithClientCertificates(t *testing.T) {
	cluster := start(t, withTLS(embedded.TLS{RequireClientCert: true}))
	putAndGet(t, cluster.Client())

	bare := &tls.Config{RootCAs: cluster.ClientConfig().TLS.RootCAs}
	require.ErrorContains(t, handshake(t, cluster, bare), "certificate required")
	require.NoError(t, handshake(t, cluster, cluster.ClientConfig().TLS))
	cfg := cluster.ClientConfig()
	cfg.TLS = bare
	turnedAway(t, cluster, cfg)

	other := start(t, withTLS(embedded.TLS{RequireClientCert: true}))
	stranger := &tls.Config{RootCAs: bare.RootCAs, GetClientCertificate: other.ClientConfig().TLS.GetClientCertificate}
	require.Error(t, handshake(t, cluster, stranger))
}

func TestAKeptFolderWithThrowAwayTLS(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 1)
	for range 2 { // with new certificates each time
		cluster := start(t, in(dir), withTLS(embedded.TLS{}))
		resp, err := cluster.Client().Get(within(t), "key")
		require.NoError(t, err)
		require.Len(t, resp.Kvs, 1)
		require.NoError(t, cluster.Close())
	}
}

func TestGivenCertificates(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	serverCert, serverKey := ca.sign(t, "server", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	clientCert, clientKey := ca.sign(t, "client", func(*x509.Certificate) {})
	wrongHost, wrongHostKey := ca.sign(t, "elsewhere", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} })
	expired, expiredKey := ca.sign(t, "expired", func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		c.NotAfter = time.Now().Add(-time.Minute)
	})
	missing := filepath.Join(dir, "missing")

	t.Run("work", func(t *testing.T) {
		cluster := start(t, withTLS(embedded.TLS{CertFile: serverCert, KeyFile: serverKey, CAFile: ca.file}))
		putAndGet(t, cluster.Client())
		require.NoDirExists(t, filepath.Join(cluster.Dir(), "tls"))
	})
	t.Run("work with client certificates", func(t *testing.T) {
		cluster := start(t, withTLS(embedded.TLS{CertFile: serverCert, KeyFile: serverKey, CAFile: ca.file,
			RequireClientCert: true, ClientCertFile: clientCert, ClientKeyFile: clientKey}))
		putAndGet(t, cluster.Client())
		bare := &tls.Config{RootCAs: cluster.ClientConfig().TLS.RootCAs}
		require.ErrorContains(t, handshake(t, cluster, bare), "certificate required")
	})
	for name, c := range map[string]struct {
		tls  embedded.TLS
		says string
	}{
		"not for this host":               {embedded.TLS{CertFile: wrongHost, KeyFile: wrongHostKey, CAFile: ca.file}, "127.0.0.1"},
		"expired":                         {embedded.TLS{CertFile: expired, KeyFile: expiredKey, CAFile: ca.file}, "expired"},
		"of an unknown authority":         {embedded.TLS{CertFile: serverCert, KeyFile: serverKey}, "unknown authority"},
		"missing":                         {embedded.TLS{CertFile: missing, KeyFile: serverKey, CAFile: ca.file}, missing},
		"missing authority":               {embedded.TLS{CertFile: serverCert, KeyFile: serverKey, CAFile: missing}, missing},
		"a key instead of the authority":  {embedded.TLS{CertFile: serverCert, KeyFile: serverKey, CAFile: serverKey}, "holds no certificate"},
		"another key":                     {embedded.TLS{CertFile: serverCert, KeyFile: clientKey, CAFile: ca.file}, "private key does not match"},
		"no key":                          {embedded.TLS{CertFile: serverCert}, "TLS needs both files"},
		"client's without key":            {embedded.TLS{CertFile: serverCert, KeyFile: serverKey, CAFile: ca.file, ClientCertFile: clientCert}, "TLS needs both files of the client"},
		"client's but not the members'":   {embedded.TLS{ClientCertFile: clientCert, ClientKeyFile: clientKey}, "no certificate for the members"},
		"client's not given":              {embedded.TLS{CertFile: serverCert, KeyFile: serverKey, CAFile: ca.file, RequireClientCert: true}, "ClientCertFile and ClientKeyFile"},
		"client's without authority":      {embedded.TLS{CertFile: serverCert, KeyFile: serverKey, RequireClientCert: true, ClientCertFile: clientCert, ClientKeyFile: clientKey}, "need CAFile"},
		"client's that nobody will trust": {embedded.TLS{CertFile: serverCert, KeyFile: serverKey, CAFile: ca.file, RequireClientCert: true, ClientCertFile: expired, ClientKeyFile: expiredKey}, "the clients' certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, refused(t, t.TempDir(), withTLS(c.tls)), c.says)
		})
	}
}

func TestAPasswordKeepsStrangersOut(t *testing.T) {
	for name, adjust := range map[string][]func(*embedded.Config){
		"plain":                {members(3), password("secret")},
		"TLS":                  {password("secret"), withTLS(embedded.TLS{})},
		"TLS and certificates": {password("secret"), withTLS(embedded.TLS{RequireClientCert: true})},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := start(t, adjust...)
			putAndGet(t, cluster.Client())
			putAndGet(t, newClient(t, cluster.ClientConfig()))

			nobody := cluster.ClientConfig()
			nobody.Username, nobody.Password = "", ""
			_, err := newClient(t, nobody).Put(within(t), "intruder", "was here")
			require.Error(t, err)
			require.Contains(t, []error{rpctypes.ErrUserEmpty, rpctypes.ErrPermissionDenied}, err)
			turnedAway(t, cluster, nobody)

			guesser := cluster.ClientConfig()
			guesser.Password = "guess"
			_, err = clientv3.New(guesser)
			require.ErrorIs(t, err, rpctypes.ErrAuthFailed)

			require.NoError(t, cluster.Stop(0))
			require.NoError(t, cluster.Restart(within(t), 0))
			putAndGet(t, cluster.Client())
		})
	}
}

func TestAKeptFolderAndItsPassword(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 1)
	cluster := start(t, in(dir), password("secret")) // turned on for data that had none
	putAndGet(t, cluster.Client())
	require.NoError(t, cluster.Close())

	err := refused(t, dir)
	require.ErrorIs(t, err, embedded.ErrDirMismatch)
	require.ErrorContains(t, err, "give it as RootPassword")
	require.ErrorIs(t, refused(t, dir, password("guess")), rpctypes.ErrAuthFailed)

	cluster = start(t, in(dir), password("secret"))
	resp, err := cluster.Client().Get(within(t), "key")
	require.NoError(t, err)
	require.Len(t, resp.Kvs, 1)
}

func TestAPasswordThatWasHalfSet(t *testing.T) {
	dir := t.TempDir()
	cluster := start(t, in(dir))
	_, err := cluster.Client().UserAdd(within(t), "root", "another")
	require.NoError(t, err)
	require.NoError(t, cluster.Close())
	putAndGet(t, start(t, in(dir), password("secret")).Client())
}

// authority signs certificates for tests.
type authority struct {
	dir, file string
	template  *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{dir: dir, file: filepath.Join(dir, "ca.crt")}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a.template = template("test authority")
	a.template.IsCA = true
	a.template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, a.template, a.template, a.key.Public(), a.key)
	require.NoError(t, err)
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

func (a *authority) sign(t *testing.T, name string, adjust func(*x509.Certificate)) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert := template(name)
	cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	adjust(cert)
	der, err := x509.CreateCertificate(rand.Reader, cert, a.template, key.Public(), a.key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "PRIVATE KEY", keyDER)
	return certFile, keyFile
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		BasicConstraintsValid: true,
	}
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}
