package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/gotenure/tenure/config"
)

// server is an HTTPS server that reads its settings anew for every request and every connection.
type server struct {
	settings *config.Value[settings]
	level    slog.LevelVar
	log      *slog.Logger
	pair     atomic.Pointer[tls.Certificate]
	inFlight atomic.Int64

	listener net.Listener
	http     *http.Server
	served   chan error
	unfollow []func()
}

func startServer(v *config.Value[settings], logs io.Writer) (*server, error) {
	s := &server{settings: v, served: make(chan error, 1)}
	s.log = slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: &s.level}))

	// Subscribe first and read then, so that nothing is missed between. Each part is told of its own changes only.
	s.unfollow = append(s.unfollow,
		config.OnChangeOf(v, func(s *settings) slog.Level { return s.Level }, func(_, now slog.Level) { s.level.Set(now) }),
		config.OnChangeOf(v, func(s *settings) certificate { return s.Certificate }, func(_, now certificate) { s.useCertificate(now) }))
	s.level.Set(v.Get().Level)
	s.useCertificate(v.Get().Certificate)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.listener = listener
	s.http = &http.Server{
		Handler:  http.HandlerFunc(s.handle),
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.pair.Load(), nil
		}},
	}
	go func() { s.served <- s.http.ServeTLS(listener, "", "") }()
	return s, nil
}

func (s *server) useCertificate(c certificate) {
	pair, err := c.load() // Validate has loaded it a moment ago
	if err != nil {
		s.log.Error("the old certificate stays in use", "err", err)
		return
	}
	s.pair.Store(pair)
}

// handle needs no lock and no callback for the limit: Get is one atomic load, and never shows half a change.
func (s *server) handle(w http.ResponseWriter, r *http.Request) {
	now := s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	if limit := s.settings.Get().MaxInFlight; now > int64(limit) {
		http.Error(w, fmt.Sprintf("more than %d at a time", limit), http.StatusTooManyRequests)
		return
	}
	s.log.Debug("request", "from", r.RemoteAddr)
	fmt.Fprintf(w, "as of revision %d\n", s.settings.Snapshot().Revision)
}

func (s *server) url() string { return "https://" + s.listener.Addr().String() }

// close waits for requests that are under way.
func (s *server) close(ctx context.Context) error {
	for _, stop := range s.unfollow {
		stop()
	}
	err := s.http.Shutdown(ctx)
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
