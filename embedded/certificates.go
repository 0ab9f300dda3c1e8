package embedded

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificateLife is how long throw-away certificates are good for: longer than any cluster of this package runs
// without a restart, which makes new ones.
const certificateLife = 10 * 365 * 24 * time.Hour

// makeCertificates makes an authority, a certificate for the members and one for clients, and writes them to dir.
// The authority's key is forgotten: nobody can sign anything else with it.
func makeCertificates(dir string) (TLS, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return TLS{}, err
	}
	authority, err := newCertificate("tenure embedded etcd, throw-away authority", nil, func(c *x509.Certificate) {
		c.IsCA = true
		c.KeyUsage = x509.KeyUsageCertSign
	})
	if err != nil {
		return TLS{}, err
	}
	server, err := newCertificate("etcd", authority, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		c.IPAddresses = []net.IP{net.ParseIP(loopback)}
		c.DNSNames = []string{"localhost"}
	})
	if err != nil {
		return TLS{}, err
	}
	// etcd takes the common name of a client's certificate for a user name when authentication is on and the
	// client does not log in. This one is nobody's.
	client, err := newCertificate("tenure embedded client", authority, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
	if err != nil {
		return TLS{}, err
	}
	t := TLS{
		CertFile:       filepath.Join(dir, "server.crt"),
		KeyFile:        filepath.Join(dir, "server.key"),
		CAFile:         filepath.Join(dir, "ca.crt"),
		ClientCertFile: filepath.Join(dir, "client.crt"),
		ClientKeyFile:  filepath.Join(dir, "client.key"),
	}
	return t, errors.Join(
		authority.write(t.CAFile, ""),
		server.write(t.CertFile, t.KeyFile),
		client.write(t.ClientCertFile, t.ClientKeyFile),
	)
}

// certificate is a certificate with its private key.
type certificate struct {
	template *x509.Certificate
	der      []byte
	key      *ecdsa.PrivateKey
}

// newCertificate makes a certificate signed by issuer, or by itself if issuer is nil.
func newCertificate(name string, issuer *certificate, adjust func(*x509.Certificate)) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c := &certificate{key: key, template: &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour), // for clocks that are set back a little
		NotAfter:              now.Add(certificateLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}}
	adjust(c.template)
	if issuer == nil {
		issuer = c
	}
	c.der, err = x509.CreateCertificate(rand.Reader, c.template, issuer.template, key.Public(), issuer.key)
	return c, err
}

// write puts the certificate and, if asked, its key into files.
func (c *certificate) write(certFile, keyFile string) error {
	if err := writePEM(certFile, "CERTIFICATE", c.der); err != nil || keyFile == "" {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return fmt.Errorf("encoding a key: %w", err)
	}
	return writePEM(keyFile, "PRIVATE KEY", der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
