package embedded

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Everything listens on the loopback interface only.
const loopback = "127.0.0.1"

// Free ports come from below the range that operating systems take for outgoing connections (from 32768 on Linux,
// from 49152 elsewhere). Otherwise the port of a stopped member could turn up as the local end of somebody's
// connection, not least of a client that is trying to reach that very member, and the member could not return.
const (
	firstFreePort = 10000
	lastFreePort  = 32767
	maxPort       = 65535
)

// address is where one kind of traffic of one member goes.
type address struct {
	port  int
	fixed bool // given or part of the data: must not be replaced by another one
}

func (a address) String() string { return net.JoinHostPort(loopback, strconv.Itoa(a.port)) }

// checkPorts looks at what was given, apart from the number of ports, which the folder may have a say in.
func checkPorts(clientPorts, peerPorts []int) []error {
	var errs []error
	seen := map[int]bool{}
	for _, ports := range [][]int{clientPorts, peerPorts} {
		for _, port := range ports {
			switch {
			case port < 0 || port > maxPort:
				errs = append(errs, fmt.Errorf("port %d", port))
			case port != 0 && seen[port]:
				errs = append(errs, fmt.Errorf("port %d is given twice", port))
			}
			seen[port] = true
		}
	}
	return errs
}

// pickPort finds a port that is free now. By the time it is used it may not be: Start then picks again.
func pickPort(taken map[int]bool) (int, error) {
	var last error
	for range 1000 {
		port := firstFreePort + rand.IntN(lastFreePort-firstFreePort+1)
		if taken[port] {
			continue
		}
		if last = probePort(port); last == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("finding a free port: %w", last)
}

// probePort says why a port cannot be listened on, or nil.
func probePort(port int) error {
	l, err := net.Listen("tcp", address{port: port}.String())
	if err != nil {
		return err
	}
	return l.Close()
}

// portPlan decides on ports.
type portPlan struct {
	pick  func(taken map[int]bool) (int, error)
	given map[int]bool // by the Config, for whichever address
	taken map[int]bool // what no further address may get
}

func newPortPlan(pick func(map[int]bool) (int, error), given, remembered [][]int) portPlan {
	p := portPlan{pick: pick, given: map[int]bool{}, taken: map[int]bool{}}
	for _, ports := range given {
		for _, port := range ports {
			p.given[port], p.taken[port] = true, true
		}
	}
	for _, ports := range remembered {
		for _, port := range ports {
			p.taken[port] = true
		}
	}
	return p
}

// addresses finds an address for each of n members: the given port, else the one that the folder remembers, else a
// free one. A remembered port is replaced if it is not free, unless it is bound to stay the same.
func (p portPlan) addresses(n int, given, remembered []int, bound bool) ([]address, error) {
	addresses := make([]address, n)
	for i := range addresses {
		switch {
		case len(given) > 0 && given[i] != 0:
			addresses[i] = address{port: given[i], fixed: true}
		case len(remembered) > 0 && (bound || !p.given[remembered[i]] && probePort(remembered[i]) == nil):
			addresses[i] = address{port: remembered[i], fixed: bound}
		default:
			port, err := p.pick(p.taken)
			if err != nil {
				return nil, err
			}
			p.taken[port] = true
			addresses[i] = address{port: port}
		}
	}
	return addresses, nil
}

// portOf says which of a member's addresses an error to listen is about.
func portOf(err error, candidates ...address) (address, bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "listen" || op.Addr == nil {
		return address{}, false
	}
	for _, a := range candidates {
		if a.String() == op.Addr.String() {
			return a, true
		}
	}
	return address{}, false
}
