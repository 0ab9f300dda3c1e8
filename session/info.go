package session

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
)

// Version is the version of the library that sessions report.
const Version = "0.1.0"

// Info is what a session's key in etcd tells about the owner of a lease.
type Info struct {
	Lease   clientv3.LeaseID `json:"-"`
	Name    string           `json:"name"`
	Host    string           `json:"host"`
	PID     int              `json:"pid"`
	Started time.Time        `json:"started"`
	Version string           `json:"version"`
}

func newInfo(name string) Info {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return Info{
		Name:    name,
		Host:    host,
		PID:     os.Getpid(),
		Started: time.Now().UTC().Truncate(time.Millisecond),
		Version: Version,
	}
}

// List returns the live sessions of a namespace ("" is the default one), by
// lease. It costs one linearizable range. Keys that are not sessions are
// skipped.
func List(ctx context.Context, client *clientv3.Client, namespace string) ([]Info, error) {
	if namespace == "" {
		namespace = keys.DefaultNamespace
	}
	space, err := keys.NewSpace(namespace)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	resp, err := client.Get(ctx, space.Sessions(), clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("session: list %s: %w", space.Sessions(), err)
	}
	infos := make([]Info, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		lease, ok := keys.ParseMember(space.Sessions(), string(kv.Key))
		if !ok {
			continue
		}
		info := Info{Lease: lease}
		if json.Unmarshal(kv.Value, &info) != nil {
			continue
		}
		infos = append(infos, info)
	}
	return infos, nil
}
