package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/gotenure/tenure/config/internal/tree"
)

// pipeline is the one way from layers to a value, for the first read, every
// reload and what is about to be written. It reads the file and does no other
// I/O.
type pipeline[T any] struct {
	name     string
	schema   *tree.Schema
	place    place
	opts     options
	defaults map[string]any
	env      map[string]any
	validate func(*T) error
}

// loaded is what came out.
type loaded[T any] struct {
	value  *T
	body   body
	merged map[string]any
	layers [numLayers]map[string]any
	staged string // the id of the staged change that it is of, or ""
}

func newPipeline[T any](name string, p place, o options) (*pipeline[T], error) {
	schema, err := tree.NewSchema(reflect.TypeFor[T]())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	pl := &pipeline[T]{name: name, schema: schema, place: p, opts: o}
	if p.doc == "" {
		if untyped := schema.Interfaces(); len(untyped) > 0 {
			return nil, fmt.Errorf("%w: %v: keys do not say what type a field of type any has", ErrConfig, untyped)
		}
	}
	if o.defaults != nil {
		defaults, ok := o.defaults.(T)
		if !ok {
			return nil, fmt.Errorf("%w: the defaults are a %T and not a %v", ErrConfig, o.defaults, reflect.TypeFor[T]())
		}
		if pl.defaults, err = schema.Encode(reflect.ValueOf(&defaults).Elem()); err != nil {
			return nil, fmt.Errorf("%w: defaults: %w", ErrConfig, err)
		}
	}
	if o.validate != nil {
		validate, ok := o.validate.(func(*T) error)
		if !ok {
			return nil, fmt.Errorf("%w: the validation is a %T and not a func(*%v) error", ErrConfig, o.validate, reflect.TypeFor[T]())
		}
		pl.validate = validate
	}
	if o.environment != nil {
		variables, err := schema.Variables(*o.environment)
		if err != nil {
			return nil, fmt.Errorf("%w: environment: %w", ErrConfig, err)
		}
		if pl.env, err = tree.FromVariables(variables, os.LookupEnv); err != nil {
			return nil, fmt.Errorf("%w: environment: %w", ErrConfig, err)
		}
	}
	return pl, nil
}

// load makes a value of what is in force for this instance. If nothing differs
// from before, it is that value again.
func (p *pipeline[T]) load(c content, before *loaded[T]) (*loaded[T], error) {
	b, staged, err := c.inForce(p.opts.instance)
	if err != nil {
		return nil, err
	}
	l, err := p.loadBody(b, before)
	if err != nil {
		return nil, err
	}
	l.staged = staged
	return l, nil
}

func (p *pipeline[T]) loadBody(b body, before *loaded[T]) (*loaded[T], error) {
	if b.empty() && p.opts.required {
		return nil, ErrMissing
	}
	l := &loaded[T]{body: b}
	var err error
	l.layers[Defaults], l.layers[Environment] = p.defaults, p.env
	if l.layers[Etcd], err = p.parse(b); err != nil {
		return nil, err
	}
	if l.layers[File], err = p.readFile(); err != nil {
		return nil, err
	}
	l.merged = p.merge(l.layers, p.opts.order)
	if before != nil && tree.Equal(before.merged, l.merged) {
		l.value = before.value
		return l, nil
	}
	l.value, err = p.decode(l.merged)
	return l, err
}

// parse makes a tree of what is in etcd.
func (p *pipeline[T]) parse(b body) (map[string]any, error) {
	if p.place.doc == "" {
		return tree.Unflatten(b.Fields)
	}
	if b.Doc == nil {
		return nil, nil
	}
	return decodeDocument(p.opts.codec, []byte(*b.Doc))
}

// print is the inverse of parse.
func (p *pipeline[T]) print(t map[string]any) (body, error) {
	if p.place.doc == "" {
		fields, err := tree.Flatten(t)
		return body{Fields: fields}, err
	}
	text, err := p.opts.codec.Encode(t)
	if err != nil {
		return body{}, fmt.Errorf("%s: %w", p.opts.codec.Name(), err)
	}
	doc := string(text)
	return body{Doc: &doc}, nil
}

func (p *pipeline[T]) readFile() (map[string]any, error) {
	if p.opts.file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(p.opts.file)
	if err != nil {
		return nil, err
	}
	codec, err := codecFor(p.opts.file)
	if err != nil {
		return nil, err
	}
	t, err := decodeDocument(codec, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.opts.file, err)
	}
	return t, nil
}

func (p *pipeline[T]) merge(layers [numLayers]map[string]any, order []Layer) map[string]any {
	merged := map[string]any{}
	for _, layer := range order {
		merged = tree.Merge(merged, layers[layer])
	}
	return merged
}

// below is what the layers under etcd say together.
func (p *pipeline[T]) below(layers [numLayers]map[string]any) map[string]any {
	for i, layer := range p.opts.order {
		if layer == Etcd {
			return p.merge(layers, p.opts.order[:i])
		}
	}
	return nil
}

// decode makes a fresh value and validates it: nothing that is not valid
// leaves here.
func (p *pipeline[T]) decode(merged map[string]any) (*T, error) {
	v, err := p.schema.Decode(merged, tree.Reading{
		Strict: p.opts.strict,
		Open: func(path tree.Path, text string) (string, error) {
			if !strings.HasPrefix(text, encryptedPrefix) {
				return text, nil // before the path is put into words, for every text there is
			}
			return decryptField(p.opts.cipher, p.name, path.String(), text)
		},
	})
	if err != nil {
		return nil, err
	}
	value := v.Interface().(*T)
	if err := p.check(value); err != nil {
		return nil, err
	}
	return value, nil
}

// check asks the type and then the program.
func (p *pipeline[T]) check(value *T) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the validation panicked: %v", r)
		}
	}()
	if v, ok := any(value).(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return err
		}
	}
	if p.validate != nil {
		return p.validate(value)
	}
	return nil
}

func (p *pipeline[T]) encode(value *T) (map[string]any, error) {
	return p.schema.Encode(reflect.ValueOf(value).Elem())
}

// seal encrypts the secret texts in a part of a tree.
func (p *pipeline[T]) seal(path tree.Path, part any) (any, error) {
	if p.opts.cipher == nil {
		return part, nil
	}
	return p.schema.Seal(path, part, func(path tree.Path, text string) (string, error) {
		if text == "" {
			return "", nil
		}
		return EncryptField(p.opts.cipher, p.name, path.String(), text)
	})
}

// edited is the body that gives the value that edit makes of base's. What edit
// does not change stays as it is written.
func (p *pipeline[T]) edited(base body, edit func(*T) error) (b body, changes []Change, err error) {
	l, err := p.loadBody(base, nil)
	if err != nil {
		return body{}, nil, fmt.Errorf("%w: what is in etcd now: %w", ErrRejected, err)
	}
	before, err := p.encode(l.value)
	if err != nil {
		return body{}, nil, err
	}
	if err := edit(l.value); err != nil { // it is nobody else's: no before was given
		return body{}, nil, err
	}
	after, err := p.encode(l.value)
	if err != nil {
		return body{}, nil, err
	}
	changes = p.changes(before, after)
	if len(changes) == 0 {
		return base, nil, nil
	}
	patched, err := tree.Patch(l.layers[Etcd], before, after, p.below(l.layers), p.seal)
	if err != nil {
		return body{}, nil, err
	}
	b, err = p.printed(patched, after)
	return b, changes, err
}

// whole is the body that says everything that value is.
func (p *pipeline[T]) whole(value *T) (body, error) {
	after, err := p.encode(value)
	if err != nil {
		return body{}, err
	}
	sealed, err := p.seal(nil, after)
	if err != nil {
		return body{}, err
	}
	return p.printed(sealed.(map[string]any), after)
}

// printed prints the layer and makes sure that, read again through all layers,
// it gives the value that after stands for.
func (p *pipeline[T]) printed(layer, after map[string]any) (body, error) {
	b, err := p.print(layer)
	if err != nil {
		return body{}, shadowed(err)
	}
	l, err := p.loadBody(b, nil)
	if err != nil {
		return body{}, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	got, err := p.encode(l.value)
	if err != nil {
		return body{}, err
	}
	if other := p.changes(tree.Prune(after), tree.Prune(got)); len(other) > 0 {
		return body{}, fmt.Errorf("%w: %v", ErrShadowed, other)
	}
	return b, nil
}

// shadowed marks the errors of formats that cannot say that something is
// removed.
func shadowed(err error) error {
	var field *FieldError
	if errors.As(err, &field) {
		return fmt.Errorf("%w: %w", ErrShadowed, err)
	}
	return fmt.Errorf("config: %w", err)
}
