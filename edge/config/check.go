package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"fieldpost/edge"
)

// checker walks the merged tree against the Go structs. It tells every problem,
// and gives back the values that are fine as viper takes them: text for what
// reads itself from text, and maps, lists, numbers and booleans.
type checker struct {
	probs  *Problems
	tables Tables

	sets     []setting          // from the environment and flags, kept apart: viper ranks them
	plugins  map[string]*Plugin // by path: what a device or uplink uses
	bad      map[string]bool    // paths of named entries that have a problem
	pins     map[edge.Pin]pinUse
	literals []secretUse
	inList   int
}

// setting is one value from the environment or a flag.
type setting struct {
	path  path
	value any
}

// pinUse is where a pin was named.
type pinUse struct {
	path path
	at   place
}

// secretUse is where a secret was written out.
type secretUse struct {
	path path
	at   place
}

func newChecker(probs *Problems, tables Tables) *checker {
	return &checker{
		probs: probs, tables: tables,
		plugins: make(map[string]*Plugin), bad: make(map[string]bool), pins: make(map[edge.Pin]pinUse),
	}
}

// value checks n against type t and gives its value for viper; nil where there is
// none, because it is wrong or because the tree fills it in later.
func (c *checker) value(p path, n *node, t reflect.Type) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n.shape == null {
		if n.tag != "refused" {
			c.probs.add(n.at, p.String()+" has no value", "write one or take the key out")
		}
		return nil
	}
	v := c.typed(p, n, t)
	if v != nil && n.at.outside && n.shape != dict && c.inList == 0 {
		c.sets = append(c.sets, setting{p, v})
		return nil
	}
	return v
}

func (c *checker) typed(p path, n *node, t reflect.Type) any {
	switch {
	case anyValue(t):
		return nil
	case textTarget(t) != nil:
		return c.text(p, n, t)
	}
	switch t.Kind() {
	case reflect.Struct:
		if !c.is(p, n, dict, t) {
			return nil
		}
		return c.dict(p, n, fieldsOf(t), p.String())
	case reflect.Map:
		c.userMap(p, n, t)
		return nil
	case reflect.Slice:
		return c.list(p, n, t)
	}
	if !c.is(p, n, scalar, t) {
		return nil
	}
	v, err := readScalar(n, t)
	if err != nil {
		c.probs.add(n.at, p.String()+": "+err.what, err.cure)
		return nil
	}
	return v
}

// is tells a problem unless n has the shape that type t needs.
func (c *checker) is(p path, n *node, want shape, t reflect.Type) bool {
	if n.shape == want {
		return true
	}
	cure := "write " + wants(t)
	if n.at.outside && want == dict {
		cure = "set its keys one by one"
	}
	c.probs.add(n.at, p.String()+" needs "+want.String()+", this is "+n.shape.String(), cure)
	return false
}

// dict checks the keys of n against the fields fs. what names the thing that has
// these keys.
func (c *checker) dict(p path, n *node, fs []field, what string) map[string]any {
	out := make(map[string]any, len(n.keys))
	for i := range n.keys {
		e := &n.keys[i]
		f, ok := fieldOf(fs, e.key)
		if !ok {
			c.unknown(p, e, keysOf(fs), what)
			continue
		}
		c.keep(out, p, e, f)
	}
	return out
}

// keep checks the value of e against field f and puts it into out.
func (c *checker) keep(out map[string]any, p path, e *entry, f field) {
	var v any
	switch {
	case f.named == "" || e.val.shape == null:
		v = c.value(p.with(e.key), e.val, f.typ)
	case c.is(p.with(e.key), e.val, dict, f.typ):
		v = c.named(p.with(e.key), e.val, f)
	}
	if v != nil {
		out[e.key] = v
	}
}

// unknown tells of a key that what does not have.
func (c *checker) unknown(p path, e *entry, known []string, what string) {
	at := p.with(e.key)
	pat := pattern(at)
	for _, later := range laterKeys {
		if later == pat {
			c.probs.add(e.at, "this version does not know "+at.String()+" yet", "take it out")
			return
		}
	}
	if what == "" {
		what = "the config"
	}
	c.probs.add(e.at, what+" has no key "+quote(e.key), didYouMean(e.key, known))
}

// named checks a map whose keys are names: each name, and what is under it.
func (c *checker) named(p path, n *node, f field) map[string]any {
	out := make(map[string]any, len(n.keys))
	elem := f.typ.Elem()
	for elem.Kind() == reflect.Pointer {
		elem = elem.Elem()
	}
	for i := range n.keys {
		e := &n.keys[i]
		before := c.count()
		if what, cure := nameProblem(f.named, e.key); what != "" {
			c.probs.add(e.at, what, cure)
		}
		var v any
		switch {
		case e.val.shape == dict && elem == deviceType:
			v = c.plugged(p.with(e.key), e, elem, slot{"driver", c.tables.Drivers, nil})
		case e.val.shape == dict && elem == uplinkType:
			v = c.plugged(p.with(e.key), e, elem, slot{"sender", c.tables.Senders, laterSenders})
		default:
			v = c.value(p.with(e.key), e.val, elem)
		}
		if c.count() > before {
			c.bad[p.with(e.key).String()] = true
		}
		if v != nil {
			out[e.key] = v
		}
	}
	return out
}

// count is how many problems there are, for telling whether a step added one.
func (c *checker) count() int { return len(c.probs.List) + c.probs.More }

// userMap checks the values of a map whose keys are the user's own. They keep
// their case and dots, so viper gets none of it.
func (c *checker) userMap(p path, n *node, t reflect.Type) {
	if !c.is(p, n, dict, t) {
		return
	}
	if t.Key().Kind() != reflect.String {
		c.probs.add(n.at, p.String()+" has keys of a type that config can't read", "")
		return
	}
	for i := range n.keys {
		c.value(p.with(n.keys[i].key), n.keys[i].val, t.Elem())
	}
}

// list checks a list. One value alone stands for a list of it.
func (c *checker) list(p path, n *node, t reflect.Type) any {
	items := n.items
	switch {
	case n.shape == scalar && n.at.outside:
		items = splitOutside(n)
	case n.shape == scalar:
		items = []*node{n}
	case !c.is(p, n, list, t):
		return nil
	}
	n.items = items
	c.inList++
	defer func() { c.inList-- }()
	out := make([]any, 0, len(items))
	for i, item := range items {
		if v := c.value(p.with("["+strconv.Itoa(i)+"]"), item, t.Elem()); v != nil {
			out = append(out, v)
		}
	}
	if anyValue(t.Elem()) || t.Elem().Kind() == reflect.Map {
		return nil
	}
	return out
}

// splitOutside makes the items of a list out of a variable or flag, which has
// them between commas.
func splitOutside(n *node) []*node {
	var items []*node
	for text := range strings.SplitSeq(n.text, ",") {
		items = append(items, outsideScalar(strings.TrimSpace(text), n.at))
	}
	return items
}

// text checks a value that reads itself from text, and notes pins and secrets.
func (c *checker) text(p path, n *node, t reflect.Type) any {
	if !c.is(p, n, scalar, t) {
		return nil
	}
	v, err := readText(textTarget(t), n.text)
	switch {
	case t == secretType && (err != nil || n.text == ""):
		c.probs.add(n.at, p.String()+" is not a secret", "write it, or file:PATH, env:NAME or cred:NAME")
		return nil
	case err != nil:
		c.probs.add(n.at, p.String()+": "+hideLogin(err.Error()), "")
		return nil
	}
	switch x := v.Interface().(type) {
	case edge.Pin:
		c.pin(p, n.at, x)
	case edge.Secret:
		if x.Source() == "literal" {
			c.literals = append(c.literals, secretUse{p, n.at})
		}
	}
	return n.text
}

// pin tells of a pin that was named before.
func (c *checker) pin(p path, at place, pin edge.Pin) {
	if first, ok := c.pins[pin]; ok {
		c.probs.add(at, fmt.Sprintf("%s: %s is already %s (%s)", p, pin, first.path, first.at), "give each its own pin")
		return
	}
	c.pins[pin] = pinUse{p, at}
}
