package tree

import (
	"fmt"
	"strings"
)

// Variables returns the name of the variable of the environment for each field:
// the prefix and the path, in capitals with underscores. Two fields that would
// share a variable are an error. What is below a map has no variables; the map
// itself does.
func (s *Schema) Variables(prefix string) (map[string]Leaf, error) {
	out := make(map[string]Leaf)
	for _, leaf := range s.Leaves() {
		name := prefix + strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z':
				return r - 'a' + 'A'
			case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
				return r
			}
			return '_'
		}, strings.Join(leaf.Path, "_"))
		if other, taken := out[name]; taken {
			return nil, fmt.Errorf("the variable %s would stand for both %v and %v", name, other.Path, leaf.Path)
		}
		out[name] = leaf
	}
	return out, nil
}

// FromVariables makes a tree of those variables that are set and not empty. A
// map is given as JSON, a list as JSON or with commas.
func FromVariables(variables map[string]Leaf, lookup func(string) (string, bool)) (map[string]any, error) {
	root := make(map[string]any)
	for name, leaf := range variables {
		text, ok := lookup(name)
		if !ok || text == "" || len(leaf.Path) == 0 {
			continue
		}
		var value any = Text(text)
		if leaf.Schema.Kind == Map || leaf.Schema.Kind == Any {
			parsed, err := ParseJSON([]byte(text))
			if err != nil {
				return nil, &FieldError{Path: leaf.Path.String(), Problem: name + " is not JSON"} // and may be secret
			}
			value = parsed
		}
		at := root
		for _, key := range leaf.Path[:len(leaf.Path)-1] {
			next, ok := at[key].(map[string]any)
			if !ok {
				next = make(map[string]any)
				at[key] = next
			}
			at = next
		}
		at[leaf.Path[len(leaf.Path)-1]] = value
	}
	return root, nil
}
