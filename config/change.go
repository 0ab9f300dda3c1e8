package config

import (
	"fmt"

	"github.com/gotenure/tenure/config/internal/tree"
)

// A Change is one field that differs between two values. Old and New are in
// JSON, "" where there is nothing, and "[secret]" where the field is secret.
type Change struct {
	Path     string // as in limits.max_conns
	Old, New string
}

// String writes the change as path: old -> new.
func (c Change) String() string {
	old, is := c.Old, c.New
	if old == "" {
		old = "nothing"
	}
	if is == "" {
		is = "nothing"
	}
	return fmt.Sprintf("%s: %s -> %s", c.Path, old, is)
}

func (p *pipeline[T]) changes(before, after map[string]any) []Change {
	var out []Change
	for _, c := range p.schema.Diff(before, after) {
		out = append(out, Change{Path: c.Path.String(), Old: c.Old, New: c.New})
	}
	return out
}

// between is what differs between two values, of which the first may be nil.
func (p *pipeline[T]) between(old, new *T) []Change {
	var trees [2]map[string]any
	for i, value := range []*T{old, new} {
		if value == nil {
			continue
		}
		t, err := p.encode(value)
		if err != nil {
			return []Change{{Path: "(all)", New: tree.JSONText(err.Error())}}
		}
		trees[i] = t
	}
	return p.changes(trees[0], trees[1])
}
