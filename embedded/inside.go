package embedded

import (
	"net/http"
	"reflect"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"
)

// etcd leaves a few things open when it is closed, and does not show them. What this file finds by reflection it is
// only used to close; should a future etcd have no such field, it stays open again, and the tests for goroutines that
// are left show it.

// inside returns the field at the end of a path of unexported fields that begins in the struct that of points to.
func inside[T any](of any, path ...string) (value T, ok bool) {
	v := reflect.ValueOf(of)
	if v.Kind() != reflect.Pointer {
		return value, false
	}
	v = v.Elem()
	for _, name := range path {
		if v.Kind() != reflect.Struct {
			return value, false
		}
		if v = v.FieldByName(name); !v.IsValid() {
			return value, false
		}
	}
	if v.Type() != reflect.TypeFor[T]() {
		return value, false
	}
	return *(*T)(v.Addr().UnsafePointer()), true
}

// closeIdlePeerConnections closes what a member keeps open to the others without using it: from its questions about
// membership and versions, and from its probes. At the other end such a connection looks busy until it times out
// after five seconds, and a member that stops waits a second for it in vain.
func closeIdlePeerConnections(server *etcdserver.EtcdServer) {
	questions, _ := inside[http.RoundTripper](server, "peerRt")
	transport, _ := inside[rafthttp.Transporter](server, "r", "transport")
	probes, _ := inside[http.RoundTripper](transport, "pipelineRt")
	for _, client := range []http.RoundTripper{questions, probes} {
		if t, ok := client.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
	}
}

// serviceClient returns the client through which etcd's lock and election services use the server they are part of.
// Its goroutines, which begin with the first lock, never end by themselves.
func serviceClient(service any) (*clientv3.Client, bool) {
	return inside[*clientv3.Client](service, "c")
}
