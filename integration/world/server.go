package world

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/features"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

const memberName = "world"

// walSegment replaces etcd's 64 MB, which every new world would have to
// preallocate: most of the time it takes to boot.
const walSegment = 1 << 20

var smallSegments = sync.OnceFunc(func() { wal.SegmentSizeBytes = walSegment })

// A server is one incarnation of the member, from boot to crash.
type server struct {
	etcd     *etcdserver.EtcdServer
	grpc     *grpc.Server
	listener *listener
	served   chan struct{} // closed when Serve has returned
}

// boot starts an incarnation on dir and returns when it has a leader and serves.
// It uses etcdserver and not embed, which listens on sockets: a goroutine in
// accept(2) is not durably blocked, and time would stand still.
func boot(dir string, fresh bool, log *zap.Logger) (*server, error) {
	smallSegments()
	urls, err := types.NewURLs([]string{"http://127.0.0.1:1"}) // never dialled: there is no peer
	if err != nil {
		return nil, err
	}
	s, err := etcdserver.NewServer(config.ServerConfig{
		Name:                        memberName,
		ClientURLs:                  urls,
		PeerURLs:                    urls,
		DataDir:                     dir,
		SnapshotCount:               10_000,
		SnapshotCatchUpEntries:      5_000,
		InitialPeerURLsMap:          types.URLsMap{memberName: urls},
		InitialClusterToken:         memberName,
		NewCluster:                  fresh,
		TickMs:                      100,
		ElectionTicks:               10,
		InitialElectionTickAdvance:  true,
		MaxTxnOps:                   embed.DefaultMaxTxnOps,
		MaxRequestBytes:             embed.DefaultMaxRequestBytes,
		MaxConcurrentStreams:        1 << 20,
		AuthToken:                   "simple",
		BcryptCost:                  4,
		TokenTTL:                    300,
		Logger:                      log,
		UnsafeNoFsync:               true,
		PreVote:                     true,
		WarningApplyDuration:        time.Second,
		WarningUnaryRequestDuration: time.Second,
		MaxLearners:                 1,
		ServerFeatureGate:           features.NewDefaultServerFeatureGate(memberName, log),
		DowngradeCheckTime:          embed.DefaultDowngradeCheckTime,
		BackendFreelistType:         "map",
		Metrics:                     "basic",
	})
	if err != nil {
		return nil, fmt.Errorf("world: making the server: %w", err)
	}
	s.Start()
	select {
	case <-s.ReadyNotify():
	case <-s.StopNotify():
		return nil, errors.New("world: the server stopped while it started")
	}
	up := &server{
		etcd: s,
		// The limits that embed sets: without them the server takes the
		// clients' keepalive pings for an attack.
		grpc: v3rpc.Server(s, nil, nil,
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: embed.DefaultGRPCKeepAliveMinTime}),
			grpc.KeepaliveParams(keepalive.ServerParameters{
				Time:    embed.DefaultGRPCKeepAliveInterval,
				Timeout: embed.DefaultGRPCKeepAliveTimeout,
			})),
		listener: newListener(),
		served:   make(chan struct{}),
	}
	go func() {
		defer close(up.served)
		_ = up.grpc.Serve(up.listener) // its error says that it was stopped
	}()
	return up, nil
}

// crash ends the incarnation. The connections go first, so that no answer
// leaves that a killed process could not have given.
func (s *server) crash() {
	s.grpc.Stop()
	<-s.served
	s.etcd.HardStop()
}

// admit gives a connection to the incarnation, unless it is gone.
func (s *server) admit(c net.Conn) bool { return s != nil && s.listener.offer(c) }
