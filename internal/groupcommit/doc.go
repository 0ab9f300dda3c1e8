// Package groupcommit puts small transactions of one process that do not touch
// each other's keys into one transaction of etcd's.
//
//	Do ─▶ pending ─▶ gather: those that do not clash ─▶ one commit ─▶ results
//	                     ▲                                   │
//	                     └── what arrived meanwhile ◀────────┘
//
// A commit to etcd costs about the same whether it carries one small
// transaction or fifty, so whoever has much to write gains several times the
// throughput. Nobody waits for company: a transaction is sent at once while
// there is room for one more commit, and gathers only behind those under way.
//
// Each transaction keeps its own comparisons, branches and answer, as if it
// had been sent alone. etcd evaluates the comparisons of a whole batch before
// its first write, so two transactions of which one compares or reads what the
// other writes are never put into the same one.
package groupcommit
