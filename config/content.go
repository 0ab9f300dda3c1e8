package config

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// body is the part of a configuration that its users wrote: a document, or
// fields in keys of their own. It is never changed once it is made.
type body struct {
	Doc    *string           `json:"doc,omitempty"`
	Fields map[string]string `json:"fields,omitempty"` // by key, without the prefix
}

func (b body) empty() bool { return b.Doc == nil && len(b.Fields) == 0 }

func (b body) equal(c body) bool {
	if b.Doc == nil || c.Doc == nil {
		return b.Doc == c.Doc && maps.Equal(b.Fields, c.Fields)
	}
	return *b.Doc == *c.Doc
}

// content is what etcd holds of a configuration at one revision. It has no I/O
// and is never changed once it is made: with returns the next one.
type content struct {
	body
	stage    *stage
	stageErr error // why the stage cannot be read
	revision int64 // of the last change
}

// with returns the content after events, which are whole revisions, in order.
func (c content) with(p place, events []*clientv3.Event) content {
	next := c
	fieldsCopied := false
	for _, ev := range events {
		key, put := string(ev.Kv.Key), ev.Type == clientv3.EventTypePut
		next.revision = max(next.revision, ev.Kv.ModRevision)
		switch {
		case key == p.stage:
			next.stage, next.stageErr = nil, nil
			if put {
				next.stage, next.stageErr = parseStage(ev.Kv.Value)
			}
		case key == p.doc:
			next.Doc = nil
			if put {
				text := string(ev.Kv.Value)
				next.Doc = &text
			}
		case p.fields != "" && strings.HasPrefix(key, p.fields):
			if !fieldsCopied {
				next.Fields, fieldsCopied = maps.Clone(next.Fields), true
			}
			if next.Fields == nil {
				next.Fields = make(map[string]string)
			}
			if put {
				next.Fields[key[len(p.fields):]] = string(ev.Kv.Value)
			} else {
				delete(next.Fields, key[len(p.fields):])
			}
		}
	}
	return next
}

// contentOf makes the content of keys that were read.
func contentOf(p place, kvs []*mvccpb.KeyValue) content {
	events := make([]*clientv3.Event, len(kvs))
	for i, kv := range kvs {
		events[i] = &clientv3.Event{Type: clientv3.EventTypePut, Kv: kv}
	}
	return content{}.with(p, events)
}

// inForce is what an instance has to use: the staged body if it is chosen, or
// else that of everybody.
func (c content) inForce(i *Instance) (b body, staged string, err error) {
	if i == nil {
		return c.body, "", nil
	}
	if c.stageErr != nil {
		return body{}, "", c.stageErr
	}
	if c.stage == nil || !c.stage.Selection.chooses(c.stage.ID, *i) {
		return c.body, "", nil
	}
	return c.stage.Body, c.stage.ID, nil
}

// byRevision splits events into those of each revision.
func byRevision(events []*clientv3.Event) [][]*clientv3.Event {
	var out [][]*clientv3.Event
	for len(events) > 0 {
		n := slices.IndexFunc(events, func(ev *clientv3.Event) bool {
			return ev.Kv.ModRevision != events[0].Kv.ModRevision
		})
		if n < 0 {
			n = len(events)
		}
		out, events = append(out, events[:n]), events[n:]
	}
	return out
}

// pack is a body compressed, for where it is kept beside the one in force.
func (b body) pack() ([]byte, error) {
	text, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	return deflate(text)
}

func unpack(packed []byte) (body, error) {
	var b body
	text, err := inflate(packed)
	if err != nil {
		return body{}, err
	}
	return b, json.Unmarshal(text, &b)
}
