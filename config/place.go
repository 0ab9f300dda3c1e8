package config

import (
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// place is where a configuration is in etcd.
type place struct {
	watch    string // what a reader follows
	prefix   bool   // everything below watch
	doc      string // the document; "" if perField
	fields   string // the prefix of the fields' keys; "" if there is a document
	stage    string
	head     string
	history  string // the prefix of the changes before
	capacity int    // of the history
}

func newPlace(base string, o options) place {
	p := place{
		watch: base + "live/", prefix: true,
		stage: base + "live/stage", head: base + "live/head", history: base + "history/",
		capacity: o.history,
	}
	switch {
	case o.perField:
		p.fields = base + "live/keys/"
	default:
		p.doc = base + "live/doc"
	}
	if o.at != "" {
		p.watch, p.prefix = o.at, o.perField
		if o.perField {
			p.fields = o.at
		} else {
			p.doc = o.at
		}
	}
	return p
}

// showsHead tells whether who follows the content is told of every write, even of
// one that only deleted keys.
func (p place) showsHead() bool { return p.prefix && strings.HasPrefix(p.head, p.watch) }

// slot is the key of the n-th change: names are used again, because etcd keeps
// a name that was deleted until compaction.
func (p place) slot(n int64) string {
	return p.history + strconv.FormatInt(n%int64(p.capacity), 10)
}

// reads are the reads that tell everything there is to know before a write.
func (p place) reads() []clientv3.Op {
	content := clientv3.OpGet(p.doc)
	if p.doc == "" {
		content = clientv3.OpGet(p.fields, clientv3.WithPrefix())
	}
	return []clientv3.Op{content, clientv3.OpGet(p.stage), clientv3.OpGet(p.head)}
}
