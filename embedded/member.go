package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/crypto/bcrypt"
)

func memberName(i int) string { return fmt.Sprintf("%s%d", memberPrefix, i) }

// member is one etcd server. It is stopped, or it runs:
//
//	stopped --start--> running, not ready --waitReady--> running --stop--> stopped
//	                           '---------------stop------------------------^
type member struct {
	index  int
	client address
	peer   address

	mu      sync.Mutex // held by whoever starts or stops this member
	running atomic.Pointer[running]
}

// running is what a member has while it runs.
type running struct {
	member *member
	etcd   *embed.Etcd
	hangup *hangup
}

// etcdConfig translates for etcd. initialCluster names all members and their peers' addresses.
func (m *member) etcdConfig(cfg Config, dir, initialCluster, token string, tls transport.TLSInfo) *embed.Config {
	ec := embed.NewConfig()
	ec.Name = memberName(m.index)
	ec.Dir = dir
	ec.InitialCluster = initialCluster
	ec.InitialClusterToken = token

	clientScheme := "http"
	if !tls.Empty() {
		clientScheme = "https"
		ec.ClientTLSInfo = tls
	}
	ec.ListenClientUrls = []url.URL{{Scheme: clientScheme, Host: m.client.String()}}
	ec.AdvertiseClientUrls = ec.ListenClientUrls
	ec.ListenPeerUrls = []url.URL{{Scheme: "http", Host: m.peer.String()}}
	ec.AdvertisePeerUrls = ec.ListenPeerUrls

	ec.TickMs = uint(cfg.Tick / time.Millisecond)
	ec.ElectionMs = uint(cfg.ElectionTimeout / time.Millisecond)
	if cfg.NoFsync {
		ec.UnsafeNoFsync = true
		ec.BcryptCost = uint(bcrypt.MinCost)
	}
	ec.QuotaBackendBytes = cfg.QuotaBytes
	if cfg.Retention > 0 {
		ec.AutoCompactionMode = embed.CompactorModePeriodic
		ec.AutoCompactionRetention = cfg.Retention.String()
	}

	// gRPC has the clients' port to itself: a server that also speaks HTTP there cannot be stopped gracefully. HTTP,
	// which etcd insists on, gets some other port. JSON over HTTP is a connection of the member to itself.
	ec.ListenClientHttpUrls = []url.URL{{Scheme: "http", Host: address{}.String()}}
	ec.EnableGRPCGateway = false

	logger := cfg.Logger.Named(ec.Name).WithOptions(zap.WithFatalHook(panicHook{}), zap.WithPanicHook(panicHook{}))
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	return ec
}

// panicHook replaces what happens after etcd has logged a fatal error: not the end of the process without a word,
// if the log is dropped, but a panic that says what it was. During the start it becomes an error.
type panicHook struct{}

func (panicHook) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	var b strings.Builder
	b.WriteString("etcd: " + entry.Message)
	for _, f := range fields {
		if f.Type == zapcore.ErrorType {
			fmt.Fprintf(&b, ": %v", f.Interface)
		}
	}
	panic(b.String())
}

// start brings the server up without waiting for the others. The caller holds m.mu.
func (m *member) start(ec *embed.Config) (err error) {
	defer func() {
		// etcd panics on data that it cannot read. What it had opened until then stays open.
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: etcd cannot work with %s: %v", ec.Name, ec.Dir, r)
		}
	}()
	r := &running{member: m, hangup: newHangup()}
	ec.GRPCAdditionalServerOptions = r.hangup.options()
	ec.ServiceRegister = r.hangup.register
	r.etcd, err = embed.StartEtcd(ec)
	if err != nil {
		if a, ok := portOf(err, m.client, m.peer); ok {
			return &portError{member: m.index, address: a, err: err}
		}
		return fmt.Errorf("%s: %w", ec.Name, err)
	}
	m.running.Store(r)
	return nil
}

// portError says that an address could not be listened on.
type portError struct {
	member  int
	address address
	err     error
}

func (e *portError) Error() string {
	return fmt.Sprintf("port %d of %s: %v", e.address.port, memberName(e.member), e.err)
}

func (e *portError) Unwrap() []error { return []error{ErrPortTaken, e.err} }

func (r *running) id() uint64 { return uint64(r.etcd.Server.MemberID()) }

// leads says whether this member thinks that it is the leader.
func (r *running) leads() bool { return r.etcd.Server.Lead() == r.id() }

// waitReady returns once the member has found a leader and serves clients.
func (r *running) waitReady(ctx context.Context) error {
	select {
	case <-r.etcd.Server.ReadyNotify():
		return nil
	case <-r.etcd.Server.StopNotify():
		return errors.New("it was stopped")
	case err, open := <-r.etcd.Err():
		if !open {
			return errors.New("it was stopped")
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop ends the server, unless that has happened already, and returns when all is closed. Calls that are not answered
// after grace are cut off. clientsGone, if not nil, is called when the last call has ended and the server is about to.
// The caller holds the member's mu.
func (r *running) stop(grace time.Duration, clientsGone func()) {
	if !r.member.running.CompareAndSwap(r, nil) {
		return
	}
	r.hangup.stop(grace)
	if clientsGone != nil {
		clientsGone()
	}
	// Close alone would try to hand over the leadership, for seconds if the other members are stopping as well, and
	// wait for ever for a member that has never been ready.
	r.etcd.Server.HardStop()
	if !r.closed() {
		r.etcd.Close()
	}
	r.hangup.close()
}

// closed says whether somebody who got hold of the server has closed it already: it cannot be closed twice.
func (r *running) closed() bool {
	for {
		select {
		case _, open := <-r.etcd.Err():
			if !open {
				return true
			}
		default:
			return false
		}
	}
}
