package queue

import (
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"
)

// shards is over how many key ranges the tasks of a queue are spread. Each is
// looked after by one of the consumers that have room.
const shards = 8

// A task's id begins with the number of its shard.
const idLength = 1 + 16

func newID() string {
	random := strings.ToLower(rand.Text()[:16])
	return strconv.Itoa(int(hash(random)%shards)) + random
}

// shardOf returns the shard in an id, and false if that is none.
func shardOf(id string) (int, bool) {
	if len(id) != idLength || id[0] < '0' || id[0] >= '0'+shards {
		return 0, false
	}
	for _, c := range []byte(id[1:]) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return 0, false
		}
	}
	return int(id[0] - '0'), true
}

// A place is where a task stands in its shard: everything that decides when it
// is its turn. It is the name of the task's key there, and names sort like the
// places: by priority, then by time.
type place struct {
	priority int
	due      time.Time
	id       string
}

// lastMilli is the latest time that a place can name.
const lastMilli = 9_999_999_999_999

func (p place) String() string {
	return fmt.Sprintf("%d-%013d-%s", Highest-p.priority, min(max(p.due.UnixMilli(), 0), lastMilli), p.id)
}

func (p place) before(q place) bool {
	switch {
	case p.priority != q.priority:
		return p.priority > q.priority
	case !p.due.Equal(q.due):
		return p.due.Before(q.due)
	}
	return p.id < q.id
}

// parsePlace reads what String has written, and nothing else.
func parsePlace(name string) (place, bool) {
	var p place
	rank, rest, ok := strings.Cut(name, "-")
	milli, id, ok2 := strings.Cut(rest, "-")
	if _, known := shardOf(id); !ok || !ok2 || !known {
		return p, false
	}
	r, err := strconv.Atoi(rank)
	ms, err2 := strconv.ParseInt(milli, 10, 64)
	if err != nil || err2 != nil {
		return p, false
	}
	p = place{priority: Highest - r, due: time.UnixMilli(ms).UTC(), id: id}
	return p, p.priority >= Lowest && p.priority <= Highest && p.String() == name
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, part := range parts {
		_, _ = h.Write([]byte(part))
		_, _ = h.Write([]byte{0})
	}
	// FNV leaves what differs at the end in the low bits only.
	sum := h.Sum64()
	sum ^= sum >> 33
	sum *= 0xff51afd7ed558ccd
	return sum ^ sum>>33
}

// responsible returns the shards that a consumer looks after, given all that
// have room: each shard is one's whose name hashes highest with it, so who comes
// or goes moves its own shards only. It is about who tries first: what counts
// is decided by the claims.
func responsible(own string, members map[string]bool) (mine [shards]bool) {
	if !members[own] {
		return mine
	}
	for shard := range mine {
		mine[shard] = true
		rank := hash(own, strconv.Itoa(shard))
		for other := range members {
			if other != own && hash(other, strconv.Itoa(shard)) > rank {
				mine[shard] = false
				break
			}
		}
	}
	return mine
}
