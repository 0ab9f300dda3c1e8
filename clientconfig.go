package tenure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// The numbers of ClientConfig; its documentation gives the reason for each.
const (
	dialTimeout       = 5 * time.Second
	keepAliveTime     = 10 * time.Second
	keepAliveTimeout  = 3 * time.Second
	minConnectTimeout = 3 * time.Second
	backoffBase       = 50 * time.Millisecond
	backoffFactor     = 1.6
	backoffJitter     = 0.2
	backoffMax        = 500 * time.Millisecond
)

// ClientConfig returns the configuration of an etcd client that suits coordination: it notices a dead
// connection early, comes back soon after an outage, and does not annoy the server. It costs no etcd call and
// opens no connection; give the result to clientv3.New.
//
// Endpoints are "host:port", "http://host:port", "https://host:port" or unix sockets as etcd's client knows them.
// One client speaks either TLS or plain text to all of its endpoints: https without an option for TLS verifies the
// servers against the system's roots, and http together with https or with a TLS option is refused, because etcd's
// client would quietly drop the encryption.
//
// What it sets, and why:
//
//   - DialKeepAliveTime 10 s: after so long without a byte on a connection with an open stream, it is probed. Less
//     is not possible, gRPC raises smaller values to 10 s; it is twice what an etcd server tolerates by default
//     (grpc-keepalive-min-time, 5 s), so that the server never answers "too many pings" and closes the connection.
//   - DialKeepAliveTimeout 3 s: a probe, and on Linux anything else that was sent, has to be acknowledged within
//     this time. A silent partition is thus noticed after 13 s at the latest. A server that pauses for longer
//     costs one reconnection and nothing else.
//   - PermitWithoutStream false: an etcd server counts probes on a connection without streams as offences and
//     soon closes the connection. A session or a watch always has a stream open.
//   - DialTimeout 5 s: bounds the log-in when the client is created, so that one leader election (1 to 2 s with
//     etcd's defaults) fits in. It does not bound connecting, which goes on in the background.
//   - Reconnection after 50 ms, then 1.6 times as long each time up to 500 ms, plus or minus a fifth: gRPC's own
//     default goes up to 120 s, and added 6.6 s to an outage of 10 s. The price is two connection attempts a
//     second from each client to each endpoint that is down.
//   - A connection attempt is given up after 3 s instead of gRPC's 20 s: enough for one lost SYN, which is sent
//     again after 1 s, and a TLS handshake across the world; an attempt that began inside a partition does not
//     hold up the first one after it.
//   - A logger that drops everything, because the client's own writes to standard error.
//
// All fields may be changed afterwards; append to DialOptions to keep the reconnection settings.
func ClientConfig(endpoints []string, opts ...ClientOption) (clientv3.Config, error) {
	o := clientOptions{logger: zap.NewNop()}
	for _, opt := range opts {
		opt(&o)
	}
	if err := errors.Join(o.errs...); err != nil {
		return clientv3.Config{}, fmt.Errorf("tenure: client configuration: %w", err)
	}
	transport, err := transportOf(endpoints)
	if err != nil {
		return clientv3.Config{}, fmt.Errorf("tenure: client configuration: %w", err)
	}
	switch {
	case o.tls != nil && transport == transportPlain:
		return clientv3.Config{}, errors.New(
			"tenure: client configuration: TLS is set but an endpoint says http://; write https:// or host:port")
	case o.tls == nil && transport == transportTLS:
		o.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return clientv3.Config{
		Endpoints:            slices.Clone(endpoints),
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    keepAliveTime,
		DialKeepAliveTimeout: keepAliveTimeout,
		PermitWithoutStream:  false,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay:  backoffBase,
				Multiplier: backoffFactor,
				Jitter:     backoffJitter,
				MaxDelay:   backoffMax,
			},
			MinConnectTimeout: minConnectTimeout,
		})},
		TLS:      o.tls,
		Username: o.username,
		Password: o.password,
		Logger:   o.logger,
	}, nil
}

// ClientOption is an option of ClientConfig.
type ClientOption func(*clientOptions)

type clientOptions struct {
	tls      *tls.Config
	username string
	password string
	logger   *zap.Logger
	errs     []error // what the options were given and cannot work with, reported all at once
}

func (o *clientOptions) fail(format string, args ...any) {
	o.errs = append(o.errs, fmt.Errorf(format, args...))
}

// WithTLS makes the client speak TLS with a copy of config. It excludes WithTLSFiles.
func WithTLS(config *tls.Config) ClientOption {
	return func(o *clientOptions) {
		if config == nil {
			o.fail("WithTLS was given nil")
			return
		}
		o.setTLS(config.Clone())
	}
}

// WithTLSFiles makes the client speak TLS with what is in the files, all PEM. caFile holds the authorities that
// may have signed the servers' certificates; empty means the system's roots. certFile and keyFile are the client's
// own certificate, for servers that ask for one; both may be empty. All are read at once, so that a mistake shows
// here, and the client's certificate again for every connection, so that it can be renewed on disk. It excludes
// WithTLS.
func WithTLSFiles(certFile, keyFile, caFile string) ClientOption {
	return func(o *clientOptions) {
		config, err := tlsFromFiles(certFile, keyFile, caFile)
		if err != nil {
			o.errs = append(o.errs, err)
			return
		}
		o.setTLS(config)
	}
}

func (o *clientOptions) setTLS(config *tls.Config) {
	if o.tls != nil {
		o.fail("TLS is set twice: choose one of WithTLS and WithTLSFiles")
		return
	}
	o.tls = config
}

// WithUser makes the client log in with a user name and a password. Both are needed: etcd's client takes a user
// without a password for no user at all. Without TLS they cross the network in the clear.
func WithUser(name, password string) ClientOption {
	return func(o *clientOptions) {
		switch {
		case name == "":
			o.fail("WithUser was given no user name")
		case password == "":
			o.fail("WithUser was given no password for user %q", name)
		}
		o.username, o.password = name, password
	}
}

// WithClientLogger gives the etcd client a logger. nil drops everything, as does leaving the option out.
func WithClientLogger(logger *zap.Logger) ClientOption {
	return func(o *clientOptions) {
		if logger == nil {
			logger = zap.NewNop()
		}
		o.logger = logger
	}
}

func tlsFromFiles(certFile, keyFile, caFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate authorities: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", caFile)
		}
	}
	switch {
	case certFile == "" && keyFile == "":
		return config, nil
	case certFile == "" || keyFile == "":
		return nil, fmt.Errorf("a client certificate needs both files: certificate %q, key %q", certFile, keyFile)
	}
	load := func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("loading the client certificate %s with key %s: %w", certFile, keyFile, err)
		}
		return &cert, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return config, nil
}

// transport says what an endpoint's scheme demands of the connection.
type transport int

const (
	transportAny   transport = iota // host:port, unix: TLS if it is configured
	transportPlain                  // http
	transportTLS                    // https, unixs
)

// transportOf checks the endpoints and returns what they demand together.
func transportOf(endpoints []string) (transport, error) {
	if len(endpoints) == 0 {
		return transportAny, errors.New("no endpoints")
	}
	together := transportAny
	for _, endpoint := range endpoints {
		t, err := checkEndpoint(endpoint)
		if err != nil {
			return transportAny, fmt.Errorf("endpoint %q: %w", endpoint, err)
		}
		switch {
		case t == transportAny:
		case together == transportAny:
			together = t
		case t != together:
			// etcd's client goes by the first endpoint and would send the others plain text, or TLS, too.
			return transportAny, errors.New("endpoints with TLS and without cannot be mixed")
		}
	}
	return together, nil
}

// checkEndpoint refuses what etcd's client accepts without a word and then never connects to.
func checkEndpoint(endpoint string) (transport, error) {
	scheme, path, _ := strings.Cut(endpoint, ":")
	switch scheme {
	case "unix", "unixs":
		if strings.Trim(path, "/") == "" {
			return transportAny, errors.New("no path")
		}
		if scheme == "unixs" {
			return transportTLS, nil
		}
		return transportAny, nil
	}
	hostport, t := endpoint, transportAny
	if strings.Contains(endpoint, "://") {
		u, err := url.Parse(endpoint)
		if err != nil {
			return transportAny, err
		}
		switch u.Scheme {
		case "http":
			t = transportPlain
		case "https":
			t = transportTLS
		default:
			return transportAny, fmt.Errorf("unknown scheme %q", u.Scheme)
		}
		if u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return transportAny, errors.New("only scheme, host and port are allowed")
		}
		hostport = u.Host
	}
	host, port, err := net.SplitHostPort(hostport)
	switch {
	case err != nil:
		return transportAny, err
	case host == "" || port == "":
		return transportAny, errors.New("host and port are needed")
	}
	return t, nil
}
