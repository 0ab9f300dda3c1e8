package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/internal/keys"
)

// A Report is what an instance says about itself.
type Report struct {
	Lease  clientv3.LeaseID  `json:"-"`
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`

	// Revision, Seen, Staged and Current are those of its config.Snapshot.
	Revision int64  `json:"revision"`
	Seen     int64  `json:"seen"`
	Staged   string `json:"staged,omitempty"`
	Current  bool   `json:"current"`
	// Fallback is true while it uses its fallback file.
	Fallback bool `json:"fallback,omitempty"`
	// Rejected is the last content that it rejected, nil if none.
	Rejected *Rejection `json:"rejected,omitempty"`
	// Health is what its health function said last, nil if there is none or
	// it was not asked yet.
	Health *Health `json:"health,omitempty"`
	// AsksHealth is whether there is one.
	AsksHealth bool `json:"asks_health,omitempty"`
}

// Health is the answer of an instance's health function.
type Health struct {
	Revision int64  `json:"revision"` // in force when it was asked
	Problem  string `json:"problem,omitempty"`
}

// A Rejection says what an instance did not take.
type Rejection struct {
	Revision int64    `json:"revision"`
	Fields   []string `json:"fields,omitempty"` // those that were wrong, if single fields were
	Problem  string   `json:"problem"`
}

// maxProblem bounds what a report quotes.
const maxProblem = 1000

func newRejection(r *config.RejectedError) *Rejection {
	if r == nil {
		return nil
	}
	out := &Rejection{Revision: r.Revision, Problem: shortened(r.Err.Error())}
	for _, field := range fieldErrors(r.Err) {
		out.Fields = append(out.Fields, field.Path)
	}
	return out
}

func shortened(text string) string {
	if len(text) > maxProblem {
		return text[:maxProblem] + "..."
	}
	return text
}

// fieldErrors finds all FieldErrors in a tree of errors.
func fieldErrors(err error) []*config.FieldError {
	if field, ok := err.(*config.FieldError); ok { //nolint:errorlint // the tree is walked here
		return []*config.FieldError{field}
	}
	var out []*config.FieldError
	switch err := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() []error }:
		for _, e := range err.Unwrap() {
			out = append(out, fieldErrors(e)...)
		}
	case interface{ Unwrap() error }:
		out = fieldErrors(err.Unwrap())
	}
	return out
}

// Applied tells whether the instance has looked at everything up to a revision
// and has it in force.
func (r Report) Applied(revision int64) bool {
	return !r.Fallback && (r.Revision >= revision || r.Seen >= revision && r.Current)
}

// Refused tells whether the instance has rejected what it should have at a
// revision.
func (r Report) Refused(revision int64) bool {
	return !r.Applied(revision) && !r.Current && r.Rejected != nil && r.Rejected.Revision >= revision
}

// A Fleet is all instances of one configuration. Its methods are safe for
// concurrent use.
type Fleet struct {
	client *clientv3.Client
	name   string
	base   string
}

// New returns the fleet of the configuration with this name in a namespace ("" is
// the default one). It needs no session and does no I/O.
func New(client *clientv3.Client, namespace, name string) (*Fleet, error) {
	if client == nil {
		return nil, errors.New("fleet: the client is nil")
	}
	space, err := keys.NewSpace(cmp.Or(namespace, keys.DefaultNamespace))
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	base, err := space.Config(name)
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	return &Fleet{client: client, name: name, base: base}, nil
}

func (f *Fleet) instances() string { return f.base + "instances/" }
func (f *Fleet) asks() string      { return f.base + "asks/" }

func (f *Fleet) answers(ask clientv3.LeaseID) string {
	return keys.Member(f.base+"answers/", ask) + "/"
}

// Reports returns the reports of all live instances, by name. It costs one
// linearizable range.
func (f *Fleet) Reports(ctx context.Context) ([]Report, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := f.client.Get(ctx, f.instances(), clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("fleet: %q: %w", f.name, err)
	}
	var out []Report
	for _, kv := range resp.Kvs {
		if r, ok := parseReport(f.instances(), string(kv.Key), kv.Value); ok {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, byName)
	return out, nil
}

func byName(a, b Report) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Lease, b.Lease))
}

func parseReport(prefix, key string, value []byte) (Report, bool) {
	lease, ok := keys.ParseMember(prefix, key)
	r := Report{Lease: lease}
	return r, ok && json.Unmarshal(value, &r) == nil && r.Name != ""
}

// requestTimeout bounds one request.
const requestTimeout = 3 * time.Second
