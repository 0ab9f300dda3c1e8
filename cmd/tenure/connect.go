package main

import (
	"errors"
	"os"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure"
)

// connect returns a client. Without a user it does not talk to etcd yet.
func (g *global) connect() (*clientv3.Client, error) {
	cfg, err := g.config()
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(cfg) // logs in
	if err != nil {
		return nil, g.explain(nil, err)
	}
	return client, nil
}

func (g *global) config() (clientv3.Config, error) {
	if g.timeout <= 0 {
		return clientv3.Config{}, fail(exitUsage, "--timeout must be longer than 0")
	}
	var opts []tenure.ClientOption
	if g.caFile != "" || g.certFile != "" || g.keyFile != "" {
		opts = append(opts, tenure.WithTLSFiles(g.certFile, g.keyFile, g.caFile))
	}
	if g.user != "" {
		password, err := g.password()
		if err != nil {
			return clientv3.Config{}, err
		}
		opts = append(opts, tenure.WithUser(g.user, password))
	}
	endpoints := make([]string, len(g.endpoints))
	for i, endpoint := range g.endpoints {
		endpoints[i] = strings.TrimSpace(endpoint)
	}
	cfg, err := tenure.ClientConfig(endpoints, opts...)
	if err != nil {
		return clientv3.Config{}, fail(exitUsage, "%s", strings.TrimPrefix(err.Error(), "tenure: "))
	}
	cfg.DialTimeout = g.timeout
	return cfg, nil
}

// password never comes from the command line, which every user of the machine can read.
func (g *global) password() (string, error) {
	if strings.Contains(g.user, ":") {
		return "", fail(exitUsage, "--user takes the name only; the password belongs into --password-file or $TENURE_PASSWORD")
	}
	password := os.Getenv("TENURE_PASSWORD")
	if g.passwordFile != "" {
		content, err := os.ReadFile(g.passwordFile)
		if err != nil {
			return "", fail(exitUsage, "reading the password: %w", err)
		}
		password = strings.TrimRight(string(content), "\r\n")
	}
	if password == "" {
		return "", fail(exitUsage, "--user %s needs a password in --password-file or $TENURE_PASSWORD", g.user)
	}
	return password, nil
}

// explain gives an error of an etcd call its exit code, and says which endpoints were tried if none of them served.
// client may be nil.
func (g *global) explain(client *clientv3.Client, err error) error {
	if _, explained := errors.AsType[*exitError](err); explained {
		return err
	}
	if !unreachable(err) {
		return &exitError{code: exitFailure, err: err}
	}
	reason := ""
	if why := refusal(client, err); why != "" {
		reason = ": " + why
	}
	return fail(exitUnreachable, "etcd cannot be reached at %s within %v%s", strings.Join(g.endpoints, ", "), g.timeout, reason)
}
