package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/embedded"
)

// A plan is how long to measure.
type plan struct {
	rounds int
	length time.Duration
}

// A result is what -json prints. Peer, ratio and limit are left out where
// there is none.
type result struct {
	Row      string   `json:"row"`
	Unit     string   `json:"unit"`
	Tenure   float64  `json:"tenure"`
	Peer     *float64 `json:"peer,omitempty"`
	PeerName string   `json:"peer_name,omitempty"`
	Ratio    *float64 `json:"ratio,omitempty"`
	Limit    *float64 `json:"limit,omitempty"`
}

// A row is one thing to measure.
type row struct {
	name     string
	unit     string
	less     bool // less of the unit is better
	once     bool // one round is enough, because nothing in it depends on time
	tenure   contestant
	peer     contestant // nil if there is none
	peerName string
	limit    contestant // nil if there is none
}

// A contestant sets itself up on clients of its own and returns what runs one
// round of about the given length and returns the row's figure.
type contestant func(ctx context.Context, env *env) (round func(time.Duration) (float64, error), err error)

// env is what a contestant stands on. Everything it makes is closed when the
// row has been measured.
type env struct {
	cluster *embedded.Cluster
	closers []func()
}

func (e *env) client() (*clientv3.Client, error) {
	client, err := e.cluster.NewClient()
	if err != nil {
		return nil, err
	}
	e.onClose(func() { client.Close() })
	return client, nil
}

func (e *env) onClose(f func()) { e.closers = append(e.closers, f) }

// inBackground runs f until the row has been measured. It is not waited for: one
// of etcd's recipes cannot be stopped but by closing its client.
func (e *env) inBackground(f func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	e.onClose(cancel)
	go f(ctx)
}

func (e *env) close() {
	for _, f := range slices.Backward(e.closers) {
		f()
	}
}

// measure runs the contestants in alternating rounds and takes the median of
// each. The first round of each is for warming up.
func (r row) measure(ctx context.Context, cluster *embedded.Cluster, plan plan) (result, error) {
	env := &env{cluster: cluster}
	defer env.close()

	contestants := []contestant{r.tenure, r.peer, r.limit}
	rounds := make([]func(time.Duration) (float64, error), len(contestants))
	for i, set := range contestants {
		if set == nil {
			continue
		}
		round, err := set(ctx, env)
		if err != nil {
			return result{}, err
		}
		rounds[i] = round
	}
	if r.once {
		plan.rounds = 1
	}
	figures := make([][]float64, len(contestants))
	for n := range plan.rounds + 1 {
		warmUp := n == 0
		for i, round := range rounds {
			if round == nil || ctx.Err() != nil || warmUp && r.once {
				continue
			}
			length := plan.length
			if warmUp {
				length /= 4
			}
			figure, err := round(length)
			if err != nil {
				return result{}, err
			}
			if !warmUp {
				figures[i] = append(figures[i], figure)
			}
		}
	}
	if ctx.Err() != nil {
		return result{}, fmt.Errorf("interrupted: %w", ctx.Err())
	}
	return r.result(figures), nil
}

func (r row) result(figures [][]float64) result {
	res := result{Row: r.name, Unit: r.unit, Tenure: *median(figures[0]), Peer: median(figures[1]), Limit: median(figures[2])}
	if res.Peer != nil {
		res.PeerName = r.peerName
		ratio := res.Tenure / *res.Peer
		if r.less {
			ratio = 1 / ratio
		}
		res.Ratio = &ratio
	}
	return res
}

func median(figures []float64) *float64 {
	if len(figures) == 0 {
		return nil
	}
	slices.Sort(figures)
	return &figures[len(figures)/2]
}
