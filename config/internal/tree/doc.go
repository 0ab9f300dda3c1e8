// Package tree is configuration before it has a type, and the way from there
// to a Go value and back.
//
//	document ─ codec ─▶ tree ─┐
//	keys of etcd ─────▶ tree ─┼─ Merge ─▶ tree ─ Decode ─▶ a fresh value
//	environment ──────▶ tree ─┘             ▲                  │
//	                                        └──── Encode ◀─────┘
//
// A tree is a map[string]any whose values are maps again, []any, string, bool,
// json.Number, or Text: a scalar that stands for any type because where it
// comes from knows only text. A nil in a map removes what lower layers say.
//
// Trees are never changed once they are made, so they share their parts.
// Nothing in this package does I/O.
package tree
