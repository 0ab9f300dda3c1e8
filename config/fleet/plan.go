package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/internal/prefixwatch"
)

// askTTL is how long a question outlives an asker that has died.
const askTTL = 60

// A Verdict is what one instance says about a draft.
type Verdict struct {
	Name    string `json:"name"`
	Problem string `json:"problem,omitempty"` // "" if it would accept it
}

// Plan asks every live instance whether it would accept a draft, with its own
// layers and validation, and returns their verdicts by name. Nothing is
// changed. The error is ErrRejected if one of them would not accept it; if ctx
// ends first, the error says who has not answered.
//
// It costs a lease, a put, two watches and a put from every instance. All that it
// writes hangs on that lease and is gone when Plan returns, or after a minute.
func (f *Fleet) Plan(ctx context.Context, d *config.Draft) ([]Verdict, error) {
	draft, err := d.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("fleet: %q: plan: %w", f.name, err)
	}
	var lease clientv3.LeaseID
	err = retry(ctx, func(ctx context.Context) error {
		grant, err := f.client.Grant(ctx, askTTL)
		if err == nil {
			lease = grant.ID
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("fleet: %q: plan: %w", f.name, err)
	}
	defer f.forget(ctx, lease)
	asked := int64(0)
	err = retry(ctx, func(ctx context.Context) error {
		put, err := f.client.Put(ctx, keys.Member(f.asks(), lease), string(draft), clientv3.WithLease(lease))
		if err == nil {
			asked = put.Header.Revision
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("fleet: %q: plan: %w", f.name, err)
	}
	verdicts, err := f.verdicts(ctx, lease, asked)
	if err != nil {
		return verdicts, fmt.Errorf("fleet: %q: plan: %w", f.name, err)
	}
	var no []string
	for _, v := range verdicts {
		if v.Problem != "" {
			no = append(no, v.Name+": "+v.Problem)
		}
	}
	if len(no) > 0 {
		return verdicts, fmt.Errorf("%w: %q: plan: %d of %d would not accept it (%s)",
			ErrRejected, f.name, len(no), len(verdicts), strings.Join(no, "; "))
	}
	return verdicts, nil
}

// forget removes the question and its answers.
func (f *Fleet) forget(ctx context.Context, lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	_, _ = f.client.Revoke(ctx, lease) // or it runs out
}

// verdicts collects answers until all live instances have given one.
func (f *Fleet) verdicts(ctx context.Context, ask clientv3.LeaseID, from int64) ([]Verdict, error) {
	ctx, cancel := context.WithCancel(ctx)
	watch := prefixwatch.Open(ctx, f.client, prefixwatch.Config{Key: f.answers(ask), Prefix: true, From: from})
	answers := make(chan map[clientv3.LeaseID]Verdict, 1)
	failed := make(chan error, 2)
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		failed <- collect(ctx, watch, f.answers(ask), answers)
	}()
	reports := make(chan []Report, 1)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		failed <- f.follow(ctx, from, func(r []Report) (bool, error) {
			replace(reports, r)
			return false, nil
		})
	}()
	defer func() {
		cancel()
		watch.Close()
		<-collected
		<-followed
	}()

	var (
		live []Report
		got  map[clientv3.LeaseID]Verdict
		seen bool
	)
	for {
		select {
		case got = <-answers:
		case live = <-reports:
			seen = true
		case err := <-failed:
			return sorted(got), fmt.Errorf("%d of %d have answered: %w", len(got), len(live), err)
		}
		missing := slices.ContainsFunc(live, func(r Report) bool { _, ok := got[r.Lease]; return !ok })
		if seen && !missing {
			return sorted(got), nil
		}
	}
}

func collect(ctx context.Context, watch *prefixwatch.Watch, prefix string, answers chan map[clientv3.LeaseID]Verdict) error {
	got := make(map[clientv3.LeaseID]Verdict)
	for {
		update, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		for _, ev := range update.Events {
			var v Verdict
			lease, ok := keys.ParseMember(prefix, string(ev.Kv.Key))
			if ok && ev.Type == clientv3.EventTypePut && json.Unmarshal(ev.Kv.Value, &v) == nil {
				got[lease] = v
			}
		}
		replace(answers, maps.Clone(got))
	}
}

// replace puts a value into a channel of capacity one, in place of what nobody
// has taken yet. One goroutine sends.
func replace[T any](c chan T, v T) {
	select {
	case <-c:
	default:
	}
	c <- v
}

func sorted(got map[clientv3.LeaseID]Verdict) []Verdict {
	return slices.SortedFunc(maps.Values(got), func(a, b Verdict) int { return strings.Compare(a.Name, b.Name) })
}

// answer judges drafts as they are asked about.
func (m *Member) answer(ctx context.Context) {
	for failures := 1; ctx.Err() == nil; failures++ {
		watch := prefixwatch.Open(ctx, m.session.Client(), prefixwatch.Config{Key: m.fleet.asks(), Prefix: true})
		for {
			update, err := watch.Next(ctx)
			if err != nil {
				break // refused, which an operator may change
			}
			failures = 0
			for _, ev := range update.Events {
				ask, ok := keys.ParseMember(m.fleet.asks(), string(ev.Kv.Key))
				if ok && ev.Type == clientv3.EventTypePut {
					m.answerTo(ctx, ask, ev.Kv.Value)
				}
			}
		}
		watch.Close()
		pause(ctx, failures)
	}
}

// answerTo answers one question, for as long as it stands.
func (m *Member) answerTo(ctx context.Context, ask clientv3.LeaseID, draft []byte) {
	ctx, cancel := context.WithTimeout(ctx, askTTL*time.Second)
	defer cancel()
	v := Verdict{Name: m.of.Name}
	if err := m.of.check(draft); err != nil {
		v.Problem = shortened(err.Error())
	}
	text, err := json.Marshal(v)
	if err != nil {
		return // two strings: cannot be
	}
	for failures := 1; ctx.Err() == nil; failures++ {
		epoch, err := m.session.Epoch(ctx)
		if err != nil {
			return
		}
		attempt, cancel := context.WithTimeout(ctx, requestTimeout)
		_, err = m.session.Client().Put(attempt, keys.Member(m.fleet.answers(ask), epoch.Lease()), string(text), clientv3.WithLease(ask))
		cancel()
		if err == nil || errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return // the asker has gone
		}
		pause(ctx, failures)
	}
}
