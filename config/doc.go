// Package config keeps a typed value that follows a configuration in etcd.
//
//	defaults ─┐
//	file ─────┤ merged       decoded         validated        swapped
//	etcd ─────┼────────▶ tree ──────▶ fresh *T ─────────▶ ok ────────▶ Get
//	environ. ─┘                          │                │
//	                                     └──── error ─────┴─▶ rejected: the last
//	                                                          good value stays
//
// [Watch] reads a configuration and follows it until Close; [Value.Get] is one
// atomic load and always returns a whole, validated value. Start-up and every
// reload take the same way through the same layers, into a value that is made
// anew each time, so what was removed is gone. An update that cannot be decoded
// or does not pass validation is rejected: it is reported, the last good value
// stays in force, and later updates are taken as if nothing had been.
//
// What Get and Snapshot return is shared by everybody and must not be changed.
// To change the configuration call [Value.Update], which works on a copy.
//
// # How it is laid out in etcd
//
//	/tenure/config/<name>/live/doc          the document, or
//	/tenure/config/<name>/live/keys/<path>  one key for each field
//	/tenure/config/<name>/live/stage        a change that is being rolled out
//	/tenure/config/<name>/live/head         who wrote last
//	/tenure/config/<name>/history/<n>       the last changes, used in rotation
//
// With [AtKey] the document, or the keys, are wherever other programs have
// them. Anybody may write the document or the keys: `etcdctl put` is as good a
// way to change a configuration as Update, though nobody validates it first and
// the history knows no author.
//
// # Types
//
// T is a struct or a map with string keys. Its fields are named by their tag
// `config:"name"` or, without one, by json, yaml or toml tags, or else as
// max_conns for MaxConns; `config:"-"` leaves a field out. Fields may be
// structs, maps with string keys, slices, arrays, pointers, numbers, strings,
// bools, []byte (as base64), time.Duration ("1m30s"), whatever has
// UnmarshalText and MarshalText or UnmarshalJSON, and, in documents, any.
// A field with the tag `secret:"true"`, or of type [Secret], is not shown in
// errors, differences and logs.
//
// # What is not guaranteed
//
// Values that come and go while a process is cut off may never be seen by it;
// those that it sees, it sees in the order of their revisions. A slow
// subscriber skips values too, and is then told the difference to what it was
// told last.
package config
