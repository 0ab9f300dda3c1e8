package fleet_test

import (
	"context"
	"errors"
	"log"
	"time"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/config/fleet"
	"github.com/gotenure/tenure/session"
)

type limits struct{ MaxConns int }

func ExampleJoin() {
	ctx := context.Background()
	var s *session.Session           // from session.New
	var values *config.Value[limits] // from config.Watch, with config.WithInstance
	healthy := func(context.Context) error { return nil }
	member, err := fleet.Join(s, values, fleet.WithHealth(healthy, time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer member.Close(ctx)
}

func ExampleFleet_WaitApplied() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var f *fleet.Fleet               // from New
	var values *config.Value[limits] // from config.Watch
	revision, err := values.Update(ctx, func(l *limits) error { l.MaxConns++; return nil })
	if err != nil {
		log.Fatal(err)
	}
	status, err := f.WaitApplied(ctx, revision, fleet.All())
	if errors.Is(err, fleet.ErrRejected) {
		log.Println(status) // 7 of 8 applied revision 93, 1 rejected it (billing-3: max_conns: ...)
	}
}

func ExampleRollout() {
	ctx := context.Background()
	var f *fleet.Fleet               // from New
	var values *config.Value[limits] // from config.Watch
	draft, err := values.Draft(ctx, func(l *limits) error { l.MaxConns++; return nil })
	if err != nil {
		log.Fatal(err)
	}
	log.Println(draft.Changes) // max_conns: 5 -> 6
	if _, err := f.Plan(ctx, draft); err != nil {
		log.Fatal(err) // an instance would reject it
	}
	_, err = fleet.Rollout(ctx, f, values, draft, fleet.Steps{
		Selections: []config.Selection{
			{Labels: map[string]string{"tier": "canary"}},
			{Labels: map[string]string{"tier": "canary"}, Share: 0.5},
		},
		Quiet:    time.Minute,
		Patience: 10 * time.Second,
	})
	if errors.Is(err, fleet.ErrRolledBack) {
		log.Println(err) // and everybody has what they had
	}
}
