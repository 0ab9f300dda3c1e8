// Package tenure is a library of coordination primitives on etcd v3: what
// several copies of a service use to agree on who does what.
//
//	session   the lease that everything hangs on, its renewal and its deadline
//	lock      Mutex, RWMutex, Semaphore, and All for several at once: handles with
//	          a context, a fencing token and a guard
//	election  who of several candidates leads, with hand-over and observers
//	barrier   Barrier, Double, Cyclic, Latch: parties that wait for each other
//	leaderworker  shards shared out among workers, each with one owner at a time
//	config    a typed, validated value that follows etcd; needs no session
//	config/fleet  who has applied which configuration, and staged roll-outs
//
// All primitives of a process share one [session.Session]. This package itself
// only has [ClientConfig], the settings of an etcd client that suit
// coordination.
//
//	cfg, err := tenure.ClientConfig([]string{"10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"})
//	client, err := clientv3.New(cfg)
//	s, err := session.New(ctx, client, session.WithTTL(10*time.Second), session.WithName("billing-3"))
//	defer s.Close(ctx)
//
//	err = lock.NewMutex(s, "orders").Do(ctx, func(ctx context.Context, h *lock.Held) error {
//		return settle(ctx, h.Token())
//	})
//
// # What holds
//
//	told in time        a handle's context ends, and Valid is false, before etcd can
//	                    give the thing to somebody else
//	fencing tokens      every later owner has a larger one
//	guarded writes      Guard makes a transaction commit only while you own
//	nothing left        a wait that was cancelled, an answer that was lost: the key
//	                    is removed, in the background if need be, or goes with the lease
//	nothing re-granted  a lost lock stays lost until you lock again
//	a stop is a stop    Close, Unlock and Do return when it is done
//
// # What does not
//
// A lock in etcd cannot stop a process that was paused between looking at
// Valid and writing somewhere else than to etcd: give that store the token.
// And two clocks must not drift apart by more than a tenth of the TTL within
// one TTL (at most a second, at least a fifth of one).
package tenure
