package embedded

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// Cluster is a running etcd cluster. All methods are safe for concurrent use.
type Cluster struct {
	cfg          Config // complete, the number of members and the TLS files included
	folder       *folder
	warnings     []string
	members      []*member
	token        string // sets this cluster apart from others that had the same ports
	pickPort     func(taken map[int]bool) (int, error)
	clientConfig clientv3.Config
	client       *clientv3.Client

	closing    context.Context // ends when Close is called
	endLife    context.CancelFunc
	mu         sync.Mutex     // makes "not closing yet, so begin" one step
	operations sync.WaitGroup // Stop, Kill and Restart under way
	closeOnce  sync.Once
	closeErr   error
}

// Size returns the number of members, stopped ones included.
func (c *Cluster) Size() int { return len(c.members) }

// Endpoints returns where clients find the members, stopped ones included: the i-th endpoint is the i-th member's.
// They stay the same for as long as the cluster is open, and for a folder that is kept as long as the ports can be
// had.
func (c *Cluster) Endpoints() []string {
	scheme := "http://"
	if c.cfg.TLS != nil {
		scheme = "https://"
	}
	endpoints := make([]string, len(c.members))
	for i, m := range c.members {
		endpoints[i] = scheme + m.client.String()
	}
	return endpoints
}

// Client returns a client that belongs to the cluster: Close closes it, the caller must not.
func (c *Cluster) Client() *clientv3.Client { return c.client }

// NewClient returns a new client with ClientConfig, which the caller closes, best before the cluster.
func (c *Cluster) NewClient() (*clientv3.Client, error) {
	client, err := clientv3.New(c.ClientConfig())
	if err != nil {
		return nil, fmt.Errorf("embedded: logging in: %w", err)
	}
	return client, nil
}

// ClientConfig returns what a client of this cluster needs, certificates and password included, with the settings of
// tenure.ClientConfig. The caller may change it.
func (c *Cluster) ClientConfig() clientv3.Config {
	cfg := c.clientConfig
	cfg.Endpoints = slices.Clone(cfg.Endpoints)
	cfg.DialOptions = slices.Clone(cfg.DialOptions)
	cfg.TLS = cfg.TLS.Clone()
	return cfg
}

// TLSFiles returns the files that a client elsewhere on this machine needs, in the order of tenure.WithTLSFiles. They
// are empty without TLS, and those of the client's certificate if none is known.
func (c *Cluster) TLSFiles() (certFile, keyFile, caFile string) {
	if c.cfg.TLS == nil {
		return "", "", ""
	}
	return c.cfg.TLS.ClientCertFile, c.cfg.TLS.ClientKeyFile, c.cfg.TLS.CAFile
}

// Dir returns the folder that holds the data.
func (c *Cluster) Dir() string { return c.folder.path }

// Warnings returns what works, but probably not as hoped, such as an even number of members. The logger was told too.
func (c *Cluster) Warnings() []string { return slices.Clone(c.warnings) }

// Member returns the etcd server of member i, for what etcd itself offers, faults included: Server.CutPeer,
// Server.MoveLeader and so on. It is nil while the member is stopped and another one after a restart. End it with Stop
// or Kill instead of its own Close. Member panics if there is no member i.
func (c *Cluster) Member(i int) *embed.Etcd {
	if r := c.members[i].running.Load(); r != nil {
		return r.etcd
	}
	return nil
}

// Leader returns the member that leads, and false if none claims to. If several do, because one of them is cut off and
// has not noticed, it is the one that was elected last.
func (c *Cluster) Leader() (i int, ok bool) {
	var term uint64
	for _, r := range c.running() {
		if r.leads() && r.etcd.Server.Term() > term {
			i, ok, term = r.member.index, true, r.etcd.Server.Term()
		}
	}
	return i, ok
}

// initialCluster names every member and its peers' address, as etcd wants it.
func (c *Cluster) initialCluster() string {
	parts := make([]string, len(c.members))
	for i, m := range c.members {
		parts[i] = memberName(i) + "=http://" + m.peer.String()
	}
	return strings.Join(parts, ",")
}
