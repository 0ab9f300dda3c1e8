package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// startAttempts bounds how often Start picks other ports because somebody took one of those it had found free.
const startAttempts = 10

// Start starts a cluster and returns once all of its members serve clients. ctx bounds the start only; when it ends
// first, or anything else goes wrong, everything is stopped and removed again, and a folder that was there before is
// as it was. See ErrPortTaken, ErrDirInUse and ErrDirMismatch.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	c, err := start(ctx, cfg, pickPort)
	if err != nil {
		// Some of etcd's errors describe the end of ctx in their own words only.
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, fmt.Errorf("embedded: starting: %w", err)
	}
	return c, nil
}

func start(ctx context.Context, cfg Config, pickPort func(map[int]bool) (int, error)) (_ *Cluster, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	f, err := openFolder(cfg.Dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, folder: f, token: rand.Text(), pickPort: pickPort}
	c.closing, c.endLife = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			c.endLife()
			c.down()
			f.abandon()
		}
	}()
	if err := c.settle(); err != nil {
		return nil, err
	}
	if err := c.up(ctx); err != nil {
		return nil, err
	}
	for _, w := range c.warnings {
		c.cfg.Logger.Warn(w)
	}
	return c, nil
}

// settle decides, with the folder open, what the Config has left open.
func (c *Cluster) settle() error {
	known := c.folder.manifest
	if c.cfg.Members == 0 {
		c.cfg.Members = max(known.Members, 1)
	}
	if !c.folder.fresh && known.Members != c.cfg.Members {
		return fmt.Errorf("%w: %s holds a cluster of %d, not of %d", ErrDirMismatch, c.folder.path, known.Members, c.cfg.Members)
	}
	for _, ports := range [][]int{c.cfg.ClientPorts, c.cfg.PeerPorts} {
		if len(ports) > 0 && len(ports) != c.cfg.Members {
			return fmt.Errorf("%d ports for %d members", len(ports), c.cfg.Members)
		}
	}
	c.warnings = c.cfg.warnings()
	if c.cfg.TLS == nil {
		return nil
	}
	prepared, err := c.cfg.TLS.prepare(c.folder.tlsPath())
	if err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	c.cfg.TLS = &prepared
	return nil
}

// up brings all members and the cluster's client up. If it fails, what is up by then stays up.
func (c *Cluster) up(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		err := c.startMembers(ctx)
		var port *portError
		if errors.As(err, &port) && !port.address.fixed && attempt < startAttempts {
			c.stopAll(c.running())
			continue
		}
		if err != nil {
			return err
		}
		break
	}
	for _, m := range c.members {
		if err := m.running.Load().waitReady(ctx); err != nil {
			return fmt.Errorf("waiting for %s: %w", memberName(m.index), err)
		}
	}
	if err := c.secure(ctx); err != nil {
		return err
	}
	if err := c.connect(ctx); err != nil {
		return err
	}
	m := c.manifest()
	m.Ready = true
	return c.folder.write(m)
}

// startMembers starts one member after the other. Together they would take far longer, waiting for each other's
// answer to the question whether the cluster exists already.
func (c *Cluster) startMembers(ctx context.Context) error {
	if err := c.planMembers(); err != nil {
		return err
	}
	if c.folder.fresh {
		if err := c.folder.removeMembers(); err != nil {
			return err
		}
		if err := c.folder.write(c.manifest()); err != nil {
			return err
		}
	}
	for _, m := range c.members {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := m.start(c.etcdConfig(m)); err != nil {
			return err
		}
	}
	return nil
}

// planMembers decides on every member's ports.
func (c *Cluster) planMembers() error {
	n, known := c.cfg.Members, c.folder.manifest
	// Members that know each other cannot be told to look elsewhere. One alone looks for nobody.
	bound := !c.folder.fresh && n > 1
	ports := newPortPlan(c.pickPort,
		[][]int{c.cfg.ClientPorts, c.cfg.PeerPorts}, [][]int{known.ClientPorts, known.PeerPorts})
	peers, err := ports.addresses(n, c.cfg.PeerPorts, known.PeerPorts, bound)
	if err != nil {
		return err
	}
	clients, err := ports.addresses(n, c.cfg.ClientPorts, known.ClientPorts, false)
	if err != nil {
		return err
	}
	members := make([]*member, n)
	for i := range members {
		if bound && peers[i].port != known.PeerPorts[i] {
			return fmt.Errorf("%w: the peer port of %s in %s is %d, not %d",
				ErrDirMismatch, memberName(i), c.folder.path, known.PeerPorts[i], peers[i].port)
		}
		members[i] = &member{index: i, client: clients[i], peer: peers[i]}
	}
	c.members = members
	return c.checkFixedPorts()
}

// checkFixedPorts finds a port that is taken before anything is started.
func (c *Cluster) checkFixedPorts() error {
	for _, m := range c.members {
		for _, a := range []address{m.client, m.peer} {
			if !a.fixed {
				continue
			}
			if err := probePort(a.port); err != nil {
				return &portError{member: m.index, address: a, err: err}
			}
		}
	}
	return nil
}

func (c *Cluster) etcdConfig(m *member) *embed.Config {
	var tls transport.TLSInfo
	if c.cfg.TLS != nil {
		tls = c.cfg.TLS.serverInfo()
	}
	return m.etcdConfig(c.cfg, c.folder.memberPath(m.index), c.initialCluster(), c.token, tls)
}

func (c *Cluster) manifest() manifest {
	m := manifest{Members: len(c.members)}
	for _, member := range c.members {
		m.ClientPorts = append(m.ClientPorts, member.client.port)
		m.PeerPorts = append(m.PeerPorts, member.peer.port)
	}
	return m
}

// connect makes the cluster's client and lets it read once, so that a wrong password shows now.
func (c *Cluster) connect(ctx context.Context) (err error) {
	c.clientConfig, err = c.clientConfigFor(c.cfg.RootPassword)
	if err != nil {
		return err
	}
	// Logging in has no context of its own, only the client as a whole has.
	life, end := context.WithCancel(context.Background())
	keep := context.AfterFunc(ctx, end)
	mine := c.ClientConfig()
	mine.Context = life
	c.client, err = clientv3.New(mine)
	keep()
	if err != nil {
		end()
		return fmt.Errorf("logging in: %w", err)
	}
	if _, err := c.client.Get(ctx, "tenure", clientv3.WithCountOnly()); err != nil {
		return fmt.Errorf("reading for the first time: %w", err)
	}
	return nil
}
