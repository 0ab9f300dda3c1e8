package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/gotenure/tenure/config"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// stepTime bounds one step of the story.
const stepTime = 20 * time.Second

// story is a server whose settings change while requests run.
type story struct {
	out      io.Writer
	logs     logCounter
	client   *clientv3.Client
	settings *config.Value[settings]
	roots    *x509.CertPool
	second   certificate
	server   *server
	clients  *clients
	good     int64 // the revision of the last good change
}

// tell plays the story and returns an error if anything is not as it says, or if a single request fails.
func tell(ctx context.Context, client *clientv3.Client, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "hotreload-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &story{out: out, client: client, roots: x509.NewCertPool()}
	first, err := makeCertificate(dir, "first", s.roots)
	if err != nil {
		return err
	}
	if s.second, err = makeCertificate(dir, "second", s.roots); err != nil {
		return err
	}
	s.settings, err = config.Watch[settings](ctx, client, name,
		config.WithDefaults(settings{MaxInFlight: 100, Level: slog.LevelInfo, Certificate: first}),
		config.WithAuthor("the story"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.settings.Close(context.WithoutCancel(ctx))) }()
	if s.server, err = startServer(s.settings, &s.logs); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.server.close(context.WithoutCancel(ctx))) }()
	s.clients = startClients(ctx, 4, s.server.url(), s.roots)
	defer s.clients.close()
	if err := s.play(ctx); err != nil {
		return err
	}
	s.clients.close()
	fmt.Fprintf(out, "\n%d requests were served, %d refused by the limit, %d failed.\n",
		s.clients.served.Load(), s.clients.refused.Load(), s.clients.failed.Load())
	if s.clients.failed.Load() > 0 {
		return fmt.Errorf("requests failed, the last with: %w", *s.clients.lastErr.Load())
	}
	return nil
}

func (s *story) play(ctx context.Context) error {
	for i, step := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"Requests run. Nothing is in etcd, so the defaults are in force.", s.begin},
		{"One request at a time.", s.limit},
		{"Log every request.", s.logRequests},
		{"Another certificate for new connections.", s.renew},
		{"A mistake, written past all validation.", s.mistake},
		{"What has happened, and back.", s.goBack},
	} {
		fmt.Fprintf(s.out, "\n%d. %s\n", i+1, step.title)
		ctx, cancel := context.WithTimeout(ctx, stepTime)
		err := step.do(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

func (s *story) begin(ctx context.Context) error {
	fmt.Fprintln(s.out, "  ", s.settings.Snapshot().Masked())
	return until(ctx, func() bool { return s.clients.served.Load() >= 20 })
}

func (s *story) limit(ctx context.Context) error {
	if err := s.update(ctx, func(n *settings) error { n.MaxInFlight = 1; return nil }); err != nil {
		return err
	}
	return until(ctx, func() bool { return s.clients.refused.Load() > 0 })
}

func (s *story) logRequests(ctx context.Context) error {
	if n := s.logs.lines.Load(); n > 0 {
		return fmt.Errorf("%d lines were logged before", n)
	}
	if err := s.update(ctx, func(n *settings) error { n.Level = slog.LevelDebug; return nil }); err != nil {
		return err
	}
	return until(ctx, func() bool { return s.logs.lines.Load() > 0 })
}

func (s *story) renew(ctx context.Context) error {
	if err := s.update(ctx, func(n *settings) error { n.Certificate = s.second; return nil }); err != nil {
		return err
	}
	return until(ctx, func() bool {
		_, certificate, err := get(ctx, s.server.url(), s.roots)
		return err == nil && certificate == "second"
	})
}

// mistake does what somebody with etcdctl could do.
func (s *story) mistake(ctx context.Context) error {
	key := s.settings.Namespace() + "config/" + name + "/live/doc"
	put, err := s.client.Put(ctx, key, `{"max_in_flight": 0}`)
	if err != nil {
		return err
	}
	_, err = s.settings.Wait(ctx, put.Header.Revision)
	if !errors.Is(err, config.ErrRejected) {
		return fmt.Errorf("it was not rejected: %w", err)
	}
	fmt.Fprintf(s.out, "   %v\n   in force: %s\n", err, s.settings.Snapshot().Masked())
	return nil
}

func (s *story) goBack(ctx context.Context) error {
	history, err := s.settings.History(ctx, 10)
	if err != nil {
		return err
	}
	for _, e := range history {
		fmt.Fprintf(s.out, "   revision %d by %q: %v\n", e.Revision, e.Author, e.Changes)
	}
	rev, err := s.settings.Rollback(ctx, s.good)
	if err != nil {
		return err
	}
	snapshot, err := s.settings.Wait(ctx, rev)
	if err == nil {
		fmt.Fprintf(s.out, "   in force: %s\n", snapshot.Masked())
	}
	return err
}

// update changes the settings and waits until the server has them.
func (s *story) update(ctx context.Context, edit func(*settings) error) error {
	before := s.settings.Snapshot()
	rev, err := s.settings.Update(ctx, edit)
	if err != nil {
		return err
	}
	s.good = rev
	after, err := s.settings.Wait(ctx, rev)
	if err == nil {
		fmt.Fprintf(s.out, "   revision %d: %v\n", rev, config.Step[settings]{Old: before, New: after}.Changes())
	}
	return err
}

// until looks again and again.
func until(ctx context.Context, done func() bool) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
