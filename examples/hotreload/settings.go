package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
)

// name is what the configuration is called in etcd.
const name = "hotreload"

// settings are what can be changed while the server runs.
type settings struct {
	MaxInFlight int         // requests at a time; more are answered with 429
	Level       slog.Level  // what is logged
	Certificate certificate // of new connections
}

// certificate is where a TLS certificate and its key are.
type certificate struct {
	CertFile, KeyFile string
}

// Validate is asked before settings are used or written: what it does not accept never comes into force.
func (s *settings) Validate() error {
	if s.MaxInFlight < 1 {
		return errors.New("max_in_flight: at least one request must be possible")
	}
	if _, err := s.Certificate.load(); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return nil
}

func (c certificate) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	return &pair, err
}

// set changes one field by its name in etcd.
func (s *settings) set(field, value string) (err error) {
	switch field {
	case "max_in_flight":
		s.MaxInFlight, err = strconv.Atoi(value)
	case "level":
		err = s.Level.UnmarshalText([]byte(value))
	case "certificate.cert_file":
		s.Certificate.CertFile = value
	case "certificate.key_file":
		s.Certificate.KeyFile = value
	default:
		err = fmt.Errorf("there is no field %q", field)
	}
	return err
}
