package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// clients send requests all the time, each on a new connection, and count what they are answered.
type clients struct {
	served, refused, failed atomic.Int64
	lastErr                 atomic.Pointer[error]

	stop  context.CancelFunc
	tasks sync.WaitGroup
}

func startClients(ctx context.Context, n int, url string, roots *x509.CertPool) *clients {
	ctx, stop := context.WithCancel(ctx)
	c := &clients{stop: stop}
	for range n {
		c.tasks.Go(func() {
			for ctx.Err() == nil {
				c.request(ctx, url, roots)
			}
		})
	}
	return c
}

func (c *clients) request(ctx context.Context, url string, roots *x509.CertPool) {
	status, _, err := get(ctx, url, roots)
	switch {
	case err != nil && ctx.Err() != nil: // the end
	case err != nil:
		c.failed.Add(1)
		c.lastErr.Store(&err)
	case status == http.StatusOK:
		c.served.Add(1)
	case status == http.StatusTooManyRequests:
		c.refused.Add(1)
	default:
		c.failed.Add(1)
	}
}

// get makes one request and returns the status, and whom the certificate was made out to.
func get(ctx context.Context, url string, roots *x509.CertPool) (status int, certificate string, err error) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, "", err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	err = errors.Join(err, resp.Body.Close())
	return resp.StatusCode, resp.TLS.PeerCertificates[0].Subject.CommonName, err
}

func (c *clients) close() {
	c.stop()
	c.tasks.Wait()
}
