package embedded

import (
	"net/http"
	"reflect"

	"go.etcd.io/etcd/server/v3/etcdserver"
)

// closeIdlePeerConnections closes the connections that a member keeps to the others for its questions about
// membership and versions. etcd never does. They would live, a goroutine or two at either end, until they time out
// after five seconds, and a member that stops would wait a second for them in vain. etcd does not show the client
// they belong to, so that it takes reflection to find it; should a future etcd have none, closing is slow again.
func closeIdlePeerConnections(server *etcdserver.EtcdServer) {
	field := reflect.ValueOf(server).Elem().FieldByName("peerRt")
	if !field.IsValid() || field.Type() != reflect.TypeFor[http.RoundTripper]() {
		return
	}
	// Through the address, because reflection hands out no value of an unexported field.
	client := *(*http.RoundTripper)(field.Addr().UnsafePointer())
	if t, ok := client.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}
