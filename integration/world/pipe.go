package world

import "time"

// window is how many bytes one direction of a connection holds before its
// writer has to wait, as the buffers of two kernels do.
const window = 64 << 10

// A pipe is one direction of a connection: what was written and has not been
// read. Everything in it is guarded by the link.
//
// Bytes enter it even while its lane is cut, and arrive when the lane is
// mended: a request that its sender has long given up can still be carried out.
type pipe struct {
	lane    *lane
	flights []flight
	size    int // bytes under way
	// broken: the connection was reset. Nothing is under way, reads and writes fail.
	broken bool
	// deaf: the reader has closed its end. What arrives is dropped.
	deaf bool
	// stranded: nothing that is or will be under way ever arrives.
	stranded bool
}

// A flight is what one write put under way.
type flight struct {
	arrives time.Time
	data    []byte
	last    bool // the writer has closed its end: the end of the stream
}

// send puts data under way, as much of it as the window holds, and returns how
// much that was and when it arrives.
func (p *pipe) send(data []byte, last bool) (int, time.Time) {
	arrives := time.Now().Add(p.lane.delay)
	if n := len(p.flights); n > 0 && p.flights[n-1].arrives.After(arrives) {
		// The delay has shrunk since; bytes do not overtake each other.
		arrives = p.flights[n-1].arrives
	}
	if p.deaf || p.broken {
		return len(data), arrives
	}
	n := min(len(data), window-p.size)
	p.flights = append(p.flights, flight{arrives: arrives, data: append([]byte(nil), data[:n]...), last: last})
	p.size += n
	return n, arrives
}

// receive moves what has arrived into buf. It returns how much that is and
// whether the stream has ended; 0 and false mean that nothing has arrived.
func (p *pipe) receive(buf []byte) (n int, ended bool) {
	if p.lane.cut || p.stranded {
		return 0, false
	}
	now := time.Now()
	for len(p.flights) > 0 && !p.flights[0].arrives.After(now) {
		f := &p.flights[0]
		if f.last {
			return n, n == 0
		}
		moved := copy(buf[n:], f.data)
		n += moved
		p.size -= moved
		if f.data = f.data[moved:]; len(f.data) > 0 {
			break
		}
		p.flights = p.flights[1:]
	}
	return n, false
}

func (p *pipe) reset() {
	p.broken = true
	p.drop()
}

func (p *pipe) drop() {
	p.flights, p.size = nil, 0
}
