package tree

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A Kind is what a place in a type takes.
type Kind int

const (
	Bool     Kind = iota
	Int           // signed
	Uint          // unsigned
	Float         //
	String        //
	Bytes         // base64
	Duration      // 1m30s
	Words         // has UnmarshalText and MarshalText
	JSON          // has UnmarshalJSON
	Any           // an empty interface
	Struct        //
	Map           // with string keys
	List          // a slice or an array
)

// A Schema is a type as configuration sees it.
type Schema struct {
	Kind   Kind
	Type   reflect.Type // without pointers
	Fields []Field      // of a Struct, by name
	Elem   *Schema      // of a Map or List
	Hidden bool         // its values are secret whatever field they are in

	byName map[string]*Field
}

// A Field is one of a struct's.
type Field struct {
	Name   string
	Secret bool // has the tag secret:"true"
	Schema *Schema
	index  []int
}

// Revealer is a type that hides its text from everybody who just prints it.
type Revealer interface{ Reveal() string }

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	revealer        = reflect.TypeFor[Revealer]()
	durationType    = reflect.TypeFor[time.Duration]()
)

// NewSchema looks at a type, which must be a struct or a map with string keys.
// It refuses what cannot be configured, such as functions and channels.
func NewSchema(t reflect.Type) (*Schema, error) {
	s, err := (&builder{known: map[reflect.Type]*Schema{}}).schema(nil, t)
	if err != nil {
		return nil, err
	}
	if t.Kind() == reflect.Pointer || s.Kind != Struct && s.Kind != Map {
		return nil, fmt.Errorf("%v is neither a struct nor a map with string keys", t)
	}
	return s, nil
}

// builder remembers the types it has met, since types can contain themselves.
type builder struct{ known map[reflect.Type]*Schema }

func (b *builder) schema(at Path, t reflect.Type) (*Schema, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if s := b.known[t]; s != nil {
		return s, nil
	}
	s := &Schema{Type: t}
	b.known[t] = s
	pointer := reflect.PointerTo(t)
	s.Hidden = pointer.Implements(revealer)
	var err error
	switch kind := t.Kind(); {
	case pointer.Implements(textUnmarshaler):
		s.Kind = Words
		if !pointer.Implements(textMarshaler) {
			err = refuse(at, t, "has UnmarshalText but no MarshalText")
		}
	case t == durationType:
		s.Kind = Duration
	case pointer.Implements(jsonUnmarshaler):
		s.Kind = JSON
	case kind == reflect.Bool:
		s.Kind = Bool
	case kind >= reflect.Int && kind <= reflect.Int64:
		s.Kind = Int
	case kind >= reflect.Uint && kind <= reflect.Uint64:
		s.Kind = Uint
	case kind == reflect.Float32 || kind == reflect.Float64:
		s.Kind = Float
	case kind == reflect.String:
		s.Kind = String
	case kind == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		s.Kind = Bytes
	case kind == reflect.Interface && t.NumMethod() == 0:
		s.Kind = Any
	case kind == reflect.Slice || kind == reflect.Array:
		s.Kind = List
		s.Elem, err = b.schema(at.Join("*"), t.Elem())
	case kind == reflect.Map && t.Key().Kind() == reflect.String:
		s.Kind = Map
		s.Elem, err = b.schema(at.Join("*"), t.Elem())
	case kind == reflect.Struct:
		s.Kind = Struct
		s.byName = make(map[string]*Field)
		err = b.fields(s, at, t, nil)
		s.Fields = sortedFields(s.byName)
	default:
		err = refuse(at, t, "cannot be configured")
	}
	return s, err
}

func refuse(at Path, t reflect.Type, why string) error {
	if len(at) == 0 {
		return fmt.Errorf("type %v %s", t, why)
	}
	return fmt.Errorf("%v: type %v %s", at, t, why)
}

// fields collects the fields of t, those of structs embedded without a name
// included, under index.
func (b *builder) fields(into *Schema, at Path, t reflect.Type, index []int) error {
	for i := range t.NumField() {
		f := t.Field(i)
		name, given := nameOf(f)
		here := append(index[:len(index):len(index)], i)
		if f.Anonymous && !given && f.Type.Kind() == reflect.Struct {
			s, err := b.schema(at, f.Type)
			if err != nil {
				return err
			}
			if s.Kind == Struct {
				if err := b.fields(into, at, f.Type, here); err != nil {
					return err
				}
				continue
			}
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if into.byName[name] != nil {
			return fmt.Errorf("%v: two fields have this name", at.Join(name))
		}
		s, err := b.schema(at.Join(name), f.Type)
		if err != nil {
			return err
		}
		into.byName[name] = &Field{Name: name, Secret: f.Tag.Get("secret") == "true", Schema: s, index: here}
	}
	return nil
}

func sortedFields(byName map[string]*Field) []Field {
	fields := make([]Field, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		fields = append(fields, *byName[name])
	}
	return fields
}

// nameOf is the name in the first of these tags that has one, or else the
// field's own in small letters with underscores.
func nameOf(f reflect.StructField) (name string, given bool) {
	for _, tag := range []string{"config", "json", "yaml", "toml"} {
		if name, _, _ := strings.Cut(f.Tag.Get(tag), ","); name != "" {
			return name, true
		}
	}
	return Snake(f.Name), false
}

// Snake writes a Go name in small letters with underscores: MaxConns becomes
// max_conns and HTTPPort http_port.
func Snake(name string) string {
	var out strings.Builder
	letters := []rune(name)
	for i, r := range letters {
		if unicode.IsUpper(r) && i > 0 && letters[i-1] != '_' {
			afterSmall := !unicode.IsUpper(letters[i-1])
			beforeSmall := i+1 < len(letters) && unicode.IsLower(letters[i+1])
			if afterSmall || beforeSmall {
				out.WriteByte('_')
			}
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}

// below returns the schema of a part and whether it is secret, given whether
// the whole is.
func (s *Schema) below(key string, secret bool) (*Schema, bool) {
	switch s.Kind {
	case Struct:
		if f := s.byName[key]; f != nil {
			return f.Schema, secret || f.Secret || f.Schema.Hidden
		}
	case Map, List:
		return s.Elem, secret || s.Elem.Hidden
	}
	return nil, secret
}

// at returns the schema of the place that a path leads to, nil if the type has
// none, and whether it is secret.
func (s *Schema) at(path Path) (*Schema, bool) {
	secret := s.Hidden
	for _, key := range path {
		if s == nil {
			return nil, secret
		}
		s, secret = s.below(key, secret)
	}
	return s, secret
}

// A Leaf is a place that is not a struct.
type Leaf struct {
	Path   Path
	Schema *Schema
}

// Leaves lists what the fields of structs within structs lead to. A type that
// contains itself is not followed.
func (s *Schema) Leaves() []Leaf { return s.leaves(nil, nil) }

func (s *Schema) leaves(at Path, above []*Schema) []Leaf {
	if s.Kind != Struct {
		return []Leaf{{at, s}}
	}
	if slices.Contains(above, s) {
		return nil
	}
	var out []Leaf
	for _, f := range s.Fields {
		out = append(out, f.Schema.leaves(at.Join(f.Name), append(above[:len(above):len(above)], s))...)
	}
	return out
}
