package config

import (
	"slices"
	"strings"
)

// shape is what kind of YAML a node is.
type shape uint8

const (
	scalar shape = iota
	list
	dict
	null
)

// String names the shape as an error text does.
func (s shape) String() string {
	return [...]string{"a single value", "a list", "a map", "nothing"}[s]
}

// node is one value of the merged tree and where it was written.
type node struct {
	shape  shape
	at     place
	text   string // of a scalar, as it was written
	tag    string // of a scalar: !!str, !!int, !!float, !!bool or another
	quoted bool
	items  []*node // of a list
	keys   []entry // of a dict, in the order written
}

// entry is one key of a dict.
type entry struct {
	key string
	at  place // of the key
	val *node
}

// get gives the value of a dict's key, or nil.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for i := range n.keys {
		if n.keys[i].key == key {
			return n.keys[i].val
		}
	}
	return nil
}

// find follows a path of keys from n, or gives nil.
func (n *node) find(keys ...string) *node {
	for _, k := range keys {
		n = n.get(k)
	}
	return n
}

// entry gives the entry of a dict's key, or nil.
func (n *node) entry(key string) *entry {
	for i := range n.keys {
		if n.keys[i].key == key {
			return &n.keys[i]
		}
	}
	return nil
}

// set replaces the value of key or adds it.
func (n *node) set(e entry) {
	if have := n.entry(e.key); have != nil {
		*have = e
		return
	}
	n.keys = append(n.keys, e)
}

// drop removes key and reports whether it was there.
func (n *node) drop(key string) bool {
	before := len(n.keys)
	n.keys = slices.DeleteFunc(n.keys, func(e entry) bool { return e.key == key })
	return len(n.keys) < before
}

// clone copies the dicts of n, so that a merge into the copy leaves n as it is.
// Scalars and lists are never written and are shared.
func (n *node) clone() *node {
	if n.shape != dict {
		return n
	}
	c := *n
	c.keys = slices.Clone(n.keys)
	for i := range c.keys {
		c.keys[i].val = c.keys[i].val.clone()
	}
	return &c
}

// path is the keys from the root to a value; a list's index is "[2]".
type path []string

func (p path) String() string {
	var b strings.Builder
	for i, k := range p {
		if i > 0 && !strings.HasPrefix(k, "[") {
			b.WriteByte('.')
		}
		b.WriteString(k)
	}
	return b.String()
}

// with gives a new path one key longer.
func (p path) with(key string) path {
	return append(slices.Clip(p), key)
}
