// Package proxy puts faults between a client and a real server: a TCP proxy on
// the loopback interface that passes bytes on, late, or not at all.
//
//	client ──► listener ──► requests: read ─► queue ─► deliver ──► target
//	           (Addr)   ◄── answers:  deliver ◄─ queue ◄─ read ◄──
//	                                     ▲
//	                                    Mode
//
// What a byte meets is decided when it is its turn to be delivered, by the Mode
// of that moment:
//
//	Mode                   what happens to bytes           to a new connection
//	Pass                   delivered                       made
//	Delay(d)               delivered d after they came     made
//	Pause                  held, delivered when it ends    accepted, made when it ends
//	PauseRequests/Answers  the same in one direction       made
//	BlackHole              swallowed                       accepted, nobody is there
//	DropRequests/Answers   swallowed in one direction      made
//	Refuse                 every connection is reset       accepted and reset
//
// Pause is a partition that heals: TCP sends again what was not acknowledged,
// so all bytes arrive, late. The end of a stream counts as a byte: it is held,
// or swallowed, like any other.
//
// BlackHole and the Drop modes are a path that forgets, such as a firewall that
// loses its table. A direction of a connection from which something was
// swallowed stays silent for good, in every later mode but Refuse: a stream
// with a hole in it cannot go on, and nobody tells the two ends. A connection
// that said nothing meanwhile goes on as if nothing had happened.
//
// Bytes sit in the buffers of two kernels on both sides as well, so a proxied
// peer can write on for a while before it blocks, as on a real network.
package proxy
