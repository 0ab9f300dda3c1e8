package tree

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// Hidden stands in place of a secret value wherever it would be shown.
const Hidden = "[secret]"

// Seal walks the part of a tree at a path and replaces each text in a secret
// place by what seal makes of it.
func (s *Schema) Seal(path Path, part any, seal func(path Path, text string) (string, error)) (any, error) {
	at, secret := s.at(path)
	return at.walk(path, secret, part, func(path Path, leaf any) (any, error) {
		if text, ok := leaf.(string); ok {
			return seal(path, text)
		}
		return leaf, nil
	})
}

// Mask returns the tree with all that is secret replaced by Hidden.
func (s *Schema) Mask(t map[string]any) map[string]any {
	return s.mask(nil, t).(map[string]any)
}

func (s *Schema) mask(path Path, part any) any {
	at, secret := s.at(path)
	masked, _ := at.walk(path, secret, part, func(Path, any) (any, error) { return Hidden, nil })
	return masked
}

// walk rebuilds a part with its secret leaves replaced. A nil schema is a place
// that the type does not know: only what is around it says whether it is
// secret.
func (s *Schema) walk(path Path, secret bool, part any, replace func(Path, any) (any, error)) (any, error) {
	part2 := func(key string, part any) (any, error) {
		below, hidden := (*Schema)(nil), secret
		if s != nil {
			below, hidden = s.below(key, secret)
		}
		return below.walk(path.Join(key), hidden, part, replace)
	}
	switch part := part.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		out := make(map[string]any, len(part))
		for key, value := range part {
			walked, err := part2(key, value)
			if err != nil {
				return nil, err
			}
			out[key] = walked
		}
		return out, nil
	case []any:
		out := make([]any, len(part))
		for i, value := range part {
			walked, err := part2(strconv.Itoa(i), value)
			if err != nil {
				return nil, err
			}
			out[i] = walked
		}
		return out, nil
	default:
		if secret {
			return replace(path, part)
		}
		return part, nil
	}
}

// A Change is one difference between two trees. Old and New are in JSON, or ""
// where there is nothing, and Hidden if the place is secret.
type Change struct {
	Path     Path
	Old, New string
}

// Diff lists what differs between two trees, by path. Maps are compared key by
// key and everything else as a whole.
func (s *Schema) Diff(before, after map[string]any) []Change { return s.diff(nil, before, after) }

func (s *Schema) diff(at Path, before, after map[string]any) []Change {
	var out []Change
	for _, key := range union(before, after) {
		was, is := before[key], after[key]
		if Equal(was, is) {
			continue
		}
		path := at.Join(key)
		wasMap, ok1 := was.(map[string]any)
		isMap, ok2 := is.(map[string]any)
		// A branch that comes or goes is told leaf by leaf, unless it is empty.
		if (ok1 || was == nil) && (ok2 || is == nil) && len(wasMap)+len(isMap) > 0 {
			out = append(out, s.diff(path, wasMap, isMap)...)
			continue
		}
		out = append(out, Change{Path: path, Old: s.show(path, was), New: s.show(path, is)})
	}
	return out
}

func (s *Schema) show(path Path, part any) string {
	if part == nil {
		return ""
	}
	masked := s.mask(path, part)
	if masked == Hidden {
		return Hidden
	}
	return JSONText(masked)
}

// JSONText writes a tree as JSON in one line.
func JSONText(t any) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(t); err != nil {
		return strconv.Quote(err.Error()) // a number that JSON does not have, such as NaN
	}
	return string(bytes.TrimRight(out.Bytes(), "\n"))
}
