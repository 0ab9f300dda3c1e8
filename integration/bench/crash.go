package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/gotenure/tenure"
)

// The benchmark runs itself as a process that leads, to be killed.
const leaderVariable = "TENURE_BENCH_LEADER" // kind, topic, endpoints

const (
	crashTTL = 2 * time.Second
	kills    = 5
)

var standers = map[string]stander{"tenure": tenureCandidate, "etcd": etcdCandidate}

// lead is that process: it says that it leads, and then does nothing.
func lead(ctx context.Context, what string) error {
	kind, rest, _ := strings.Cut(what, " ")
	topic, endpoints, _ := strings.Cut(rest, " ")
	cfg, err := tenure.ClientConfig(strings.Split(endpoints, ","))
	if err != nil {
		return err
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	env := &env{}
	defer env.close()
	c, err := standers[kind](ctx, env, client, topic, "leader", crashTTL)
	if err != nil {
		return err
	}
	if err := c.campaign(ctx); err != nil {
		return err
	}
	fmt.Println("leads")
	<-ctx.Done()
	return nil
}

// crashes kills leaders at different moments between two renewals, all at once,
// and returns the longest time that it took until the next one led.
func crashes(kind string, make stander) contestant {
	return func(ctx context.Context, env *env) (func(time.Duration) (float64, error), error) {
		return func(time.Duration) (float64, error) {
			took := slices.Repeat([]float64{0}, kills)
			var group errgroup.Group
			for i := range kills {
				client, err := env.client()
				if err != nil {
					return 0, err
				}
				topic := fmt.Sprintf("crash-%d", i)
				next, err := make(ctx, env, client, topic, "next", crashTTL)
				if err != nil {
					return 0, err
				}
				group.Go(func() (err error) {
					took[i], err = crash(ctx, env, client, kind, topic, next, crashTTL/3*time.Duration(i)/kills)
					return err
				})
			}
			err := group.Wait()
			return slices.Max(took), err
		}, nil
	}
}

func crash(ctx context.Context, env *env, client *clientv3.Client, kind, topic string, next standing, after time.Duration) (float64, error) {
	leader := exec.CommandContext(ctx, os.Args[0])
	leader.Env = append(os.Environ(), leaderVariable+"="+kind+" "+topic+" "+strings.Join(env.cluster.Endpoints(), ","))
	leader.Stderr = os.Stderr
	out, err := leader.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := leader.Start(); err != nil {
		return 0, err
	}
	said := bufio.NewScanner(out)
	if !said.Scan() || said.Text() != "leads" {
		return 0, fmt.Errorf("the leader's process ended: %w", leader.Wait())
	}
	won := make(chan error, 1)
	go func() { won <- next.campaign(ctx) }()
	if err := awaitKeys(ctx, client, next.prefix(), 2); err != nil {
		return 0, err
	}
	time.Sleep(after)
	start := time.Now()
	if err := leader.Process.Kill(); err != nil {
		return 0, err
	}
	err = <-won
	took := milliseconds(time.Since(start))
	_ = leader.Wait() // it was killed
	if err != nil {
		return 0, err
	}
	return took, next.resign(ctx)
}
