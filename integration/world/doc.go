// Package world runs a real etcd server and real etcd clients in one bubble of
// testing/synctest: no socket, and time that jumps as soon as everybody waits.
// A minute of partitions takes a twentieth of a second.
//
//	            ┌────────────────────── bubble ──────────────────────┐
//	            │                 link of node "a"                   │
//	your code ─►│ clientv3 ─► gRPC ══ requests ══►╮                  │
//	            │                  ◄═ answers ════╡                  │
//	            │                 link of node "b"├─ gRPC ─► etcd ───┼─► files
//	your code ─►│ clientv3 ─► gRPC ══ requests ══►┤          server  │   in memory
//	            │                  ◄═ answers ════╡                  │
//	 observer ─►│ clientv3 ─► gRPC ═══════════════╯ no faults        │
//	            └────────────────────────────────────────────────────┘
//
//	world.Run(t, world.Config{Seed: seed}, func(t *testing.T, w *world.World) {
//		a := w.Dial("a")
//		w.Go(func() { use(w.Context(), a.Client()) })
//		err := w.Play(t.Context(), world.Plan(seed, 4*time.Minute, []string{"a"}, world.DefaultRates()))
//	})
//
// # Faults
//
// Each node has a link with two lanes. A lane that is cut lets nothing arrive
// and says nothing; what is under way waits, also when its sender has given up
// or closed the connection, and arrives after Mend:
//
//	Cut, Mend            both lanes
//	CutRequests          requests wait, answers arrive
//	CutAnswers           requests are carried out, answers wait
//	CutAnswers, Reset    the commit was applied and its answer is lost for good
//	Reset                what is under way is lost, both sides notice at once
//	Strand               connections are silent for good, new ones work
//	Delay                bytes are under way for longer
//	Kill                 the process is gone without a word
//
// The server has CrashServer, RestartServer and Compact. A Schedule is a random
// list of all of these, drawn by Plan and played by Play. It depends on the
// seed alone; how goroutines interleave does not, so a seed that fails may need
// a few runs to fail again.
//
// Faults end with the schedule, and a client is rarely connected for long
// before. Let a simulation go on for a quiet while after Play: much that hangs
// shows only then.
//
// # Rules of the bubble
//
// Time passes when every goroutine waits for another one of the bubble. So:
//
//   - Never hold a sync.Mutex while waiting for time or for the server. Whoever
//     wants the mutex meanwhile is not durably blocked, and time stands still.
//   - Channels made outside of the bubble do the same, those of package-level
//     variables included. etcd's client has one; this package replaces it.
//   - Worlds run one after another, t.Parallel or not.
//   - A clock that is not the time package's, such as CLOCK_BOOTTIME, goes on in
//     real time. What reads one has to take time.Since in its place.
//   - Code that computes in real time, such as the search for a linearization,
//     belongs behind Run.
//
// # What it cannot show
//
//   - More than one member: no leader change, no lagging or isolated member, no
//     read that is stale because of them. Peers speak through sockets.
//   - Lost or torn writes: the files are closed in order. A crash loses what
//     the server had not committed, never what it had.
//   - A process that stands still while time goes on, as by SIGSTOP, a paused
//     machine or a long collection of garbage.
//   - How long anything computes. All that happens without waiting happens in
//     one instant, so there is no load, no starvation of the processor, and no
//     race that needs time to pass in the middle of a computation.
//   - Packet loss and reordering as TCP sees them, TLS, name resolution.
package world
