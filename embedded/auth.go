package embedded

import (
	"context"
	"errors"
	"fmt"

	"github.com/gotenure/tenure"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const rootName = "root" // the user and the role that etcd asks for before it turns authentication on

// secure turns authentication on, or makes sure that a cluster that is continued has it as the Config says. Whether
// the password is right shows when the cluster's client logs in.
func (c *Cluster) secure(ctx context.Context) error {
	enabled := c.members[0].running.Load().etcd.Server.AuthStore().IsAuthEnabled()
	switch {
	case enabled && c.cfg.RootPassword == "":
		return fmt.Errorf("%w: the cluster in %s has a password, give it as RootPassword", ErrDirMismatch, c.folder.path)
	case enabled || c.cfg.RootPassword == "":
		return nil
	}
	open, err := c.clientConfigFor("")
	if err != nil {
		return err
	}
	client, err := clientv3.New(open)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.UserAdd(ctx, rootName, c.cfg.RootPassword)
	if errors.Is(err, rpctypes.ErrUserAlreadyExist) { // of an earlier start that ended right here
		_, err = client.UserChangePassword(ctx, rootName, c.cfg.RootPassword)
	}
	if err != nil {
		return fmt.Errorf("adding the user %s: %w", rootName, err)
	}
	if _, err := client.UserGrantRole(ctx, rootName, rootName); err != nil {
		return fmt.Errorf("granting the role %s: %w", rootName, err)
	}
	if _, err := client.AuthEnable(ctx); err != nil {
		return fmt.Errorf("turning authentication on: %w", err)
	}
	return nil
}

// clientConfigFor returns the configuration for clients of this cluster, without a user if password is empty.
func (c *Cluster) clientConfigFor(password string) (clientv3.Config, error) {
	opts := []tenure.ClientOption{tenure.WithClientLogger(c.cfg.Logger.Named("client"))}
	if c.cfg.TLS != nil {
		opts = append(opts, tenure.WithTLSFiles(c.TLSFiles()))
	}
	if password != "" {
		opts = append(opts, tenure.WithUser(rootName, password))
	}
	return tenure.ClientConfig(c.Endpoints(), opts...)
}
