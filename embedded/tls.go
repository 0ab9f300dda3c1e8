package embedded

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// TLS says how clients speak TLS with the cluster. The zero TLS makes a throw-away authority, which nobody else
// trusts, and has it sign everything. The members among themselves speak plain text over the loopback interface.
type TLS struct {
	// CertFile and KeyFile are the members' certificate and its key, in PEM form, valid for 127.0.0.1.
	// Empty means certificates that last as long as the cluster does.
	CertFile string
	KeyFile  string

	// CAFile holds the authority that signed CertFile and, with RequireClientCert, the clients' certificates. Empty
	// means the system's roots.
	CAFile string

	// RequireClientCert turns away clients without a certificate. ClientCertFile and ClientKeyFile are the one that
	// the cluster's own clients present; they are needed if CertFile is given.
	RequireClientCert bool
	ClientCertFile    string
	ClientKeyFile     string
}

// validate checks what does not need the files. The throw-away authority signs everything or nothing.
func (t TLS) validate() error {
	given := t.CertFile != ""
	switch {
	case given != (t.KeyFile != ""):
		return fmt.Errorf("TLS needs both files: certificate %q, key %q", t.CertFile, t.KeyFile)
	case (t.ClientCertFile != "") != (t.ClientKeyFile != ""):
		return fmt.Errorf("TLS needs both files of the client: certificate %q, key %q", t.ClientCertFile, t.ClientKeyFile)
	case !given && (t.CAFile != "" || t.ClientCertFile != ""):
		return errors.New("TLS: an authority or a client's certificate, but no certificate for the members")
	case given && t.RequireClientCert && t.CAFile == "":
		return errors.New("TLS: clients' certificates need CAFile to be checked against")
	case given && t.RequireClientCert && t.ClientCertFile == "":
		return errors.New("TLS: the cluster's own clients need ClientCertFile and ClientKeyFile")
	}
	return nil
}

// prepare makes the throw-away certificates, or checks that the given ones will do.
func (t TLS) prepare(dir string) (TLS, error) {
	if t.CertFile == "" {
		made, err := makeCertificates(dir)
		made.RequireClientCert = t.RequireClientCert
		return made, err
	}
	if err := verify(t.CertFile, t.KeyFile, t.CAFile, x509.ExtKeyUsageServerAuth, loopback); err != nil {
		return TLS{}, fmt.Errorf("the members' certificate: %w", err)
	}
	if t.RequireClientCert {
		if err := verify(t.ClientCertFile, t.ClientKeyFile, t.CAFile, x509.ExtKeyUsageClientAuth, ""); err != nil {
			return TLS{}, fmt.Errorf("the clients' certificate: %w", err)
		}
	}
	return t, nil
}

// verify makes sure that the other side will accept a certificate. A client whose TLS fails says nothing and tries
// again for ever, so that the reason has to be found here.
func verify(certFile, keyFile, caFile string, usage x509.ExtKeyUsage, host string) error {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	options := x509.VerifyOptions{
		DNSName:       host,
		KeyUsages:     []x509.ExtKeyUsage{usage},
		Intermediates: x509.NewCertPool(),
	}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return err
		}
		options.Roots = x509.NewCertPool()
		if !options.Roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s holds no certificate in PEM form", caFile)
		}
	}
	for _, der := range pair.Certificate[1:] {
		intermediate, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%s: %w", certFile, err)
		}
		options.Intermediates.AddCert(intermediate)
	}
	if _, err := pair.Leaf.Verify(options); err != nil {
		return fmt.Errorf("%s: %w", certFile, err)
	}
	return nil
}

// serverInfo is the members' side of it.
func (t TLS) serverInfo() transport.TLSInfo {
	info := transport.TLSInfo{CertFile: t.CertFile, KeyFile: t.KeyFile}
	if t.RequireClientCert {
		// etcd asks every client for a certificate as soon as it knows an authority, whatever else it is told.
		info.TrustedCAFile = t.CAFile
		info.ClientCertAuth = true
	}
	return info
}
