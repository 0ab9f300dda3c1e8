package balance

// A Worker takes shards.
type Worker struct {
	Name     string
	Share    int // of the whole, relative to the other workers; 1 if 0
	Capacity int // the most weight that it takes; 0 is no limit
	Labels   map[string]string
	// Frozen workers keep what they have, and get nothing.
	Frozen bool
}

// A Shard is to be at one worker.
type Shard struct {
	Name    string
	Weight  int               // 1 if 0
	Require map[string]string // labels that its worker must have
	At      string            // the worker where it is, "" for nowhere
	// Settled shards are at work where they are: others are preferred when one
	// has to move.
	Settled bool
}

// Why a shard is nowhere.
const (
	Unfit  = -1 // no worker has the labels that it requires
	NoRoom = -2 // those that have are full
)

// Assign returns for each shard the index of the worker that it goes to, or
// Unfit, or NoRoom. The order of the workers decides between equals, so callers
// give them in an order that lasts, such as that of their names. The names
// must differ.
func Assign(workers []Worker, shards []Shard) []int {
	b := newBoard(workers, shards)
	b.placeAll()
	b.level()
	for b.placeAll() { // levelling may have made room for what had none
		b.level()
	}
	return b.at
}

// Fits tells whether a worker has the labels that a shard requires.
func Fits(labels, require map[string]string) bool {
	for name, value := range require {
		if have, ok := labels[name]; !ok || have != value {
			return false
		}
	}
	return true
}
