package tree

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gotenure/tenure/internal/keys"
)

// Unflatten makes a tree of keys: "http/timeout" is the field timeout of the
// field http. Segments are escaped as names are.
func Unflatten(flat map[string]string) (map[string]any, error) {
	root := make(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(flat)) {
		path, err := ParseKey(key)
		if err != nil {
			return nil, err
		}
		at := root
		for i, segment := range path[:len(path)-1] {
			next, ok := at[segment].(map[string]any)
			switch {
			case ok:
			case at[segment] != nil:
				return nil, fmt.Errorf("key %q: %v is a value and cannot have fields", key, path[:i+1])
			default:
				next = make(map[string]any)
				at[segment] = next
			}
			at = next
		}
		at[path[len(path)-1]] = Text(flat[key]) // a key sorts before those that extend it
	}
	return root, nil
}

// ParseKey returns the path that a key stands for.
func ParseKey(key string) (Path, error) {
	var path Path
	for segment := range strings.SplitSeq(key, "/") {
		name, err := keys.Unescape(segment)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
		path = append(path, name)
	}
	return path, nil
}

// Flatten writes a tree as keys: a key for each field and each entry of a map,
// with lists as JSON. Nil is refused: keys cannot say that something is removed.
func Flatten(t map[string]any) (map[string]string, error) {
	flat := make(map[string]string)
	return flat, flatten(flat, nil, "", t)
}

func flatten(into map[string]string, at Path, prefix string, t map[string]any) error {
	for name, part := range t {
		path := at.Join(name)
		segment, err := keys.Escape(name)
		if err != nil {
			return &FieldError{Path: path.String(), Problem: "cannot be a key: " + err.Error(), Err: err}
		}
		key := prefix + segment
		switch part := part.(type) {
		case map[string]any:
			if err := flatten(into, path, key+"/", part); err != nil {
				return err
			}
		case nil:
			return &FieldError{Path: path.String(), Problem: "cannot be removed, because a lower layer sets it"}
		case Text:
			into[key] = string(part)
		case string:
			into[key] = part
		case json.Number:
			into[key] = part.String()
		case bool:
			into[key] = strconv.FormatBool(part)
		default:
			into[key] = JSONText(part)
		}
	}
	return nil
}

// Interfaces returns where a type has empty interfaces, which keys cannot
// carry: text does not say whether 5 is a number.
func (s *Schema) Interfaces() []string {
	var out []string
	var visit func(s *Schema, at Path, above []*Schema)
	visit = func(s *Schema, at Path, above []*Schema) {
		if slices.Contains(above, s) {
			return
		}
		above = append(above[:len(above):len(above)], s)
		switch s.Kind {
		case Any:
			out = append(out, at.String())
		case Struct:
			for _, f := range s.Fields {
				visit(f.Schema, at.Join(f.Name), above)
			}
		case Map:
			visit(s.Elem, at.Join("*"), above)
		}
	}
	visit(s, nil, nil)
	return out
}
