package tree

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Text is a scalar from where everything is text: a key of etcd, a variable of
// the environment. It decodes into any type that its letters fit.
type Text string

// Merge puts one layer over another: maps are merged key by key, everything
// else is replaced whole, and nil removes. Neither layer is changed.
func Merge(under, over map[string]any) map[string]any {
	out := make(map[string]any, len(under)+len(over))
	maps.Copy(out, under)
	for key, above := range over {
		if above == nil {
			delete(out, key)
			continue
		}
		if branch, ok := above.(map[string]any); ok {
			below, _ := out[key].(map[string]any)
			above = Merge(below, branch) // also removes the nils of a branch that is new
		}
		out[key] = above
	}
	return out
}

// Equal tells whether two trees are the same. A map without entries is not the
// same as none.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, Equal)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, Equal)
	case json.Number, string, bool, Text, nil:
		return a == b
	}
	return reflect.DeepEqual(a, b) // nothing that a codec may return comes here
}

// Patch changes own, one layer of several, so that the merged whole becomes
// after where it was before. What is equal in both stays as it is in own,
// whatever it is written like. Below is what the lower layers say: what shall
// vanish and is said there too has to be removed by a nil. Each value that is
// taken from after goes through seal first.
func Patch(own, before, after, below map[string]any, seal func(Path, any) (any, error)) (map[string]any, error) {
	return patch(nil, own, before, after, below, seal)
}

func patch(at Path, own, before, after, below map[string]any, seal func(Path, any) (any, error)) (map[string]any, error) {
	out := maps.Clone(own)
	if out == nil {
		out = make(map[string]any)
	}
	for _, key := range union(before, after) {
		was, is := before[key], after[key]
		if Equal(was, is) {
			continue
		}
		path := at.Join(key)
		wasMap, ok1 := was.(map[string]any)
		isMap, ok2 := is.(map[string]any)
		switch {
		case ok1 && ok2:
			branch, _ := own[key].(map[string]any)
			belowBranch, _ := below[key].(map[string]any)
			patched, err := patch(path, branch, wasMap, isMap, belowBranch, seal)
			if err != nil {
				return nil, err
			}
			out[key] = patched
		case is != nil:
			sealed, err := seal(path, is)
			if err != nil {
				return nil, err
			}
			out[key] = sealed
		case below[key] != nil:
			out[key] = nil
		default:
			delete(out, key)
		}
	}
	return out, nil
}

// Prune returns the tree without maps that have no entries.
func Prune(t map[string]any) map[string]any {
	out := make(map[string]any, len(t))
	for key, part := range t {
		if branch, ok := part.(map[string]any); ok {
			if branch = Prune(branch); len(branch) == 0 {
				continue
			}
			part = branch
		}
		out[key] = part
	}
	return out
}

// Find returns what a tree has at a path, nil if nothing.
func Find(t map[string]any, path Path) any {
	var at any = t
	for _, key := range path {
		branch, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = branch[key]
	}
	return at
}

func union(a, b map[string]any) []string {
	keys := slices.AppendSeq(make([]string, 0, len(a)+len(b)), maps.Keys(a))
	keys = slices.AppendSeq(keys, maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

// A Path leads from the root of a tree to a part of it.
type Path []string

// Join returns the path extended by a key.
func (p Path) Join(key string) Path { return append(p[:len(p):len(p)], key) }

// String writes the path with dots; a key that would be misread is quoted, as
// in tags["a.b"].
func (p Path) String() string {
	var out strings.Builder
	for i, key := range p {
		switch {
		case key == "" || strings.ContainsAny(key, `.[]"`) || !strconv.CanBackquote(key):
			out.WriteString("[" + strconv.Quote(key) + "]")
		case i > 0:
			out.WriteString("." + key)
		default:
			out.WriteString(key)
		}
	}
	return out.String()
}
