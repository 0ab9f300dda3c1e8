package config

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gotenure/tenure/internal/keys"
)

// A Layer is one source of settings.
type Layer int

// The layers, in the order in which later ones win unless WithOrder says
// otherwise.
const (
	Defaults    Layer = iota // WithDefaults
	File                     // WithFile
	Etcd                     // what everybody shares
	Environment              // WithEnvironment
)

const numLayers = 4

func (l Layer) String() string {
	return [numLayers]string{"defaults", "file", "etcd", "environment"}[l]
}

const (
	// DefaultHistory is how many changes are kept unless WithHistory says
	// otherwise.
	DefaultHistory = 32
	// MaxHistory bounds WithHistory.
	MaxHistory = 1000

	// DefaultRequestLimit is how large a request etcd takes with its defaults.
	DefaultRequestLimit = 3 << 19
)

// An Option changes how a configuration is found, read or written.
type Option func(*options) error

type options struct {
	space        keys.Space
	at           string
	perField     bool
	codec        Codec
	defaults     any
	validate     any
	file         string
	environment  *string
	order        []Layer
	strict       bool
	required     bool
	fallback     string
	patience     time.Duration
	maxStaleness time.Duration
	cipher       Cipher
	author       string
	history      int
	requestLimit int
	instance     *Instance
	log          *slog.Logger
	observer     Observer
}

// An Observer is told what becomes of updates; it is what metrics are made of.
// Nil functions are skipped. They are called one at a time and must return at
// once.
type Observer struct {
	// Applied is called when a value was taken, the first one included, with
	// the revision that it is of.
	Applied func(revision int64)
	// Rejected is called when content was refused.
	Rejected func(*RejectedError)
}

// An Instance is a process that a staged change may choose.
type Instance struct {
	Name   string
	Labels map[string]string
}

func newOptions(opts []Option) (options, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	o := options{
		space:        keys.DefaultNamespace,
		codec:        JSON,
		order:        []Layer{Defaults, File, Etcd, Environment},
		author:       fmt.Sprintf("%s-%d", host, os.Getpid()),
		history:      DefaultHistory,
		requestLimit: DefaultRequestLimit,
		log:          slog.New(slog.DiscardHandler),
	}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return options{}, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	switch {
	case o.at != "" && o.instance != nil:
		return options{}, fmt.Errorf("%w: changes cannot be staged for a configuration AtKey", ErrConfig)
	case o.at != "" && o.perField && !strings.HasSuffix(o.at, "/"):
		return options{}, fmt.Errorf("%w: the prefix %q does not end in a slash", ErrConfig, o.at)
	}
	return o, nil
}

// PerField keeps each field in a key of its own instead of one document:
// http/timeout for the field timeout of the field http. Entries of maps have a
// key each, lists are JSON, or items with commas between when written by hand.
// A map without entries is nil when it is read again, and fields of type any
// are refused. All keys that one Update changes, it changes at one revision.
func PerField() Option {
	return func(o *options) error { o.perField = true; return nil }
}

// WithCodec sets the format of the document; the default is JSON.
func WithCodec(c Codec) Option {
	return func(o *options) error {
		o.codec = c
		if c == nil {
			return errors.New("the codec is nil")
		}
		return nil
	}
}

// AtKey reads and writes the document at a key of your choice, or, with
// PerField, the keys below a prefix that ends in a slash. History still lives
// under the configuration's name.
func AtKey(key string) Option {
	return func(o *options) error {
		o.at = key
		if strings.Trim(key, "/") == "" {
			return fmt.Errorf("the key %q is empty or only slashes", key)
		}
		return nil
	}
}

// WithNamespace sets the key prefix under which everything lives; the default
// is "/tenure/".
func WithNamespace(namespace string) Option {
	return func(o *options) (err error) {
		o.space, err = keys.NewSpace(namespace)
		return err
	}
}

// WithDefaults sets the layer of defaults to all fields of a value, which is
// copied. T must be the type that is watched.
func WithDefaults[T any](defaults T) Option {
	return func(o *options) error { o.defaults = defaults; return nil }
}

// WithFile makes a layer of a file whose format its name ends in: .json, .yaml,
// .yml or .toml. It must exist. It is read again whenever etcd's content
// changes and by Reload; if it cannot be read then, the update is rejected.
func WithFile(path string) Option {
	return func(o *options) error {
		o.file = path
		_, err := codecFor(path)
		return err
	}
}

// WithEnvironment makes a layer of variables: with the prefix "APP_" the
// variable APP_HTTP_TIMEOUT sets the field timeout of the field http. Lists are
// JSON or items with commas between, maps are JSON. An empty variable counts as
// not set. They are read once, by Watch.
func WithEnvironment(prefix string) Option {
	return func(o *options) error { o.environment = &prefix; return nil }
}

// WithOrder says which layers win over which: later ones over earlier ones. All
// four must be named. The default is Defaults, File, Etcd, Environment.
func WithOrder(order ...Layer) Option {
	return func(o *options) error {
		o.order = slices.Clone(order)
		if !slices.Equal(slices.Sorted(slices.Values(order)), []Layer{Defaults, File, Etcd, Environment}) {
			return errors.New("the order does not name each of the four layers once")
		}
		return nil
	}
}

// Strict rejects content with fields that the type does not have. Without it
// they are ignored, so that old processes go on when new ones get a new field.
func Strict() Option {
	return func(o *options) error { o.strict = true; return nil }
}

// Required rejects it when there is nothing in etcd: Watch then fails with
// ErrMissing, and a deletion leaves the last value in force.
func Required() Option {
	return func(o *options) error { o.required = true; return nil }
}

// WithValidation sets a function that has to accept every value before it is
// used or written, after the type's own Validate method. T must be the type
// that is watched. It must not change the value.
func WithValidation[T any](validate func(*T) error) Option {
	return func(o *options) error {
		o.validate = validate
		if validate == nil {
			return errors.New("the validation is nil")
		}
		return nil
	}
}

// WithFallback keeps what etcd last had that was good in a file, with its
// revision, and uses it when etcd does not answer Watch within patience, or has
// content that is rejected. The snapshot says so. As soon as etcd answers, its
// content takes over. The file is replaced whole, readable by its owner only;
// encrypted values are encrypted in it.
func WithFallback(path string, patience time.Duration) Option {
	return func(o *options) error {
		o.fallback, o.patience = path, patience
		if path == "" || patience <= 0 {
			return errors.New("a fallback needs a path and a patience above 0")
		}
		return nil
	}
}

// WithMaxStaleness makes Fresh return ErrStale when nothing was heard from etcd
// for d. A watch on which nothing happens asks etcd now and then: with this
// option often enough.
func WithMaxStaleness(d time.Duration) Option {
	return func(o *options) error {
		o.maxStaleness = d
		if d < time.Second {
			return fmt.Errorf("a staleness of %v is less than a second", d)
		}
		return nil
	}
}

// WithCipher decrypts encrypted values and encrypts the text of secret fields
// in what is written.
func WithCipher(c Cipher) Option {
	return func(o *options) error {
		o.cipher = c
		if c == nil {
			return errors.New("the cipher is nil")
		}
		return nil
	}
}

// WithAuthor is who the history says has made the changes of this Value; the
// default is the host name and the process id.
func WithAuthor(name string) Option {
	return func(o *options) error {
		o.author = name
		if name == "" {
			return errors.New("the author is empty")
		}
		return nil
	}
}

// WithHistory sets how many changes are remembered beyond etcd's compaction,
// compressed; the default is 32. Writers of one configuration should agree.
func WithHistory(changes int) Option {
	return func(o *options) error {
		o.history = changes
		if changes < 1 || changes > MaxHistory {
			return fmt.Errorf("a history of %d is not between 1 and %d", changes, MaxHistory)
		}
		return nil
	}
}

// WithRequestLimit says how many bytes etcd takes in one request, if it was
// started with another --max-request-bytes than the default of 1.5 MiB.
func WithRequestLimit(bytes int) Option {
	return func(o *options) error {
		o.requestLimit = bytes
		if bytes < 1024 {
			return fmt.Errorf("a request limit of %d is less than a kilobyte", bytes)
		}
		return nil
	}
}

// WithInstance says who this process is, so that staged changes can choose it.
// Without it, it takes changes once they are promoted.
func WithInstance(i Instance) Option {
	return func(o *options) error {
		o.instance = &Instance{Name: i.Name, Labels: maps.Clone(i.Labels)}
		if i.Name == "" {
			return errors.New("the instance's name is empty")
		}
		return nil
	}
}

// WithLogger makes the Value say what it applies and rejects. It logs
// revisions, paths and errors, never values. The default is silence.
func WithLogger(log *slog.Logger) Option {
	return func(o *options) error {
		o.log = log
		if log == nil {
			return errors.New("the logger is nil")
		}
		return nil
	}
}

// WithObserver calls the observer's functions as updates are applied and
// rejected.
func WithObserver(observer Observer) Option {
	return func(o *options) error { o.observer = observer; return nil }
}
