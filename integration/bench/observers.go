package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// observers returns the median time, in milliseconds, from a resignation until
// all who observe through one client know of the next term.
func observers(candidates, watching int, make stander) contestant {
	return func(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
		ctx, stop := context.WithCancel(ctx)
		s := &spectacle{watching: watching, leads: newChan[standing](), news: newChan[int64]()}
		env.onClose(s.group.Wait)
		env.onClose(stop)
		for i := range candidates + 1 {
			client, err := env.client()
			if err != nil {
				return nil, err
			}
			c, err := make(ctx, env, client, fmt.Sprintf("observers-%d", watching), fmt.Sprint(i), time.Minute)
			if err != nil {
				return nil, err
			}
			if i < candidates {
				s.group.Go(func() { s.stand(ctx, c) })
				continue
			}
			for range watching {
				s.group.Go(func() { c.observe(ctx, func(token int64) { s.saw(ctx, token) }) })
			}
		}
		leader := <-s.leads
		<-s.news // the first term
		return func(d time.Duration) (float64, error) {
			took := []float64{}
			for end := time.Now().Add(d); time.Now().Before(end) || len(took) == 0; {
				start := time.Now()
				if err := leader.resign(ctx); err != nil {
					return 0, err
				}
				select {
				case <-s.news:
				case <-ctx.Done():
					return 0, context.Cause(ctx)
				}
				took = append(took, milliseconds(time.Since(start)))
				s.again(ctx, leader)
				leader = <-s.leads
			}
			return *median(took), nil
		}, nil
	}
}

// A spectacle is an election and those who watch it.
type spectacle struct {
	watching int
	group    sync.WaitGroup
	leads    chan standing // who was elected
	news     chan int64    // a token that everybody has seen

	mu   sync.Mutex
	seen map[int64]int
}

func newChan[T any]() chan T { return make(chan T, 1) }

// stand campaigns once and says when it leads.
func (s *spectacle) stand(ctx context.Context, c standing) {
	if c.campaign(ctx) == nil {
		select {
		case s.leads <- c:
		case <-ctx.Done():
		}
	}
}

// again has a candidate that has resigned stand at the end.
func (s *spectacle) again(ctx context.Context, c standing) {
	s.group.Go(func() { s.stand(ctx, c) })
}

// saw counts who has seen a term.
func (s *spectacle) saw(ctx context.Context, token int64) {
	s.mu.Lock()
	if s.seen == nil {
		s.seen = make(map[int64]int)
	}
	s.seen[token]++
	all := s.seen[token] == s.watching
	if all {
		delete(s.seen, token)
	}
	s.mu.Unlock()
	if all {
		select {
		case s.news <- token:
		case <-ctx.Done():
		}
	}
}
