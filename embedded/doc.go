// Package embedded runs etcd inside of this process: one member or several, on the loopback interface, for
// development, for tests and for programs that only need one machine. It is a module of its own, so that users of
// Tenure with an etcd elsewhere do not carry the server around.
//
//	cluster, err := embedded.Start(ctx, embedded.Config{Members: 3})
//	if err != nil { ... }
//	defer cluster.Close()
//	s, err := session.New(ctx, cluster.Client())
//
// What there is, and what happens to a member:
//
//	Start --> Cluster ---------------------------------------------------------- Close
//	             |
//	             +-- Dir()      tenure-cluster.lock   one cluster at a time works in it
//	             |              tenure-cluster.json   how many members, and their ports
//	             |              member-0, member-1... etcd's data
//	             |              tls                   throw-away certificates
//	             |
//	             +-- Client()   ClientConfig() fits: endpoints, certificates, password
//	             |
//	             +-- member 0   running --Stop: hands over, ends--> stopped
//	             +-- member 1           --Kill: ends------------->
//	             +-- member 2           <--Restart: same ports, same data--
//
// A cluster is silent unless Config.Logger is set. Its folder is temporary unless Config.Dir is set; then it is kept,
// and the next Start goes on with it. Close, and a Start that fails, leave nothing behind: no goroutine, no listener,
// no folder that was not there before.
//
// Fast tests take Config{NoFsync: true, Tick: 10 * time.Millisecond}: a cluster is up in 0.1 s and gone in some 10 ms.
// With etcd's own timing it takes up to 1 s.
//
// # What it does not do
//
// It adds no members to a running cluster and replaces none. The members talk to each other in plain text, over the
// loopback interface. Clients' ports speak gRPC only, as etcd recommends: there is no JSON gateway, and /health and
// /metrics are in plain text at another port, one of Member(i).Clients. The members share the process's
// Prometheus registry, so that the metrics do not tell them apart.
//
// A member that finds its data destroyed makes Start fail with what etcd says; files that etcd had opened by then
// stay open until the process ends.
package embedded
