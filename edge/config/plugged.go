package config

import (
	"fmt"
	"reflect"
	"slices"
)

// Plugin is a row of a table of drivers or senders. New gives a pointer to the
// plug-in's config struct with its defaults filled in; its fields have
// mapstructure tags, and the one tagged with Name is the value of the key that
// chooses the plug-in.
type Plugin struct {
	Name string
	New  func() any
}

// Tables are the plug-ins that this binary has.
type Tables struct {
	Drivers  []Plugin
	Senders  []Plugin
	Dialects []Plugin

	// Refused says of the devices, each of which is well-formed alone, why one could not
	// be made of its options or beside the others and the uplinks of these names, by its
	// name. It touches nothing; nil refuses none.
	Refused func(devices map[string]*Device, uplinks []string) map[string]error
}

// slot is where plug-ins of one table go.
type slot struct {
	kind  string // driver, sender
	table []Plugin
	later []string
}

func (s slot) names() []string {
	names := make([]string, len(s.table))
	for i, pl := range s.table {
		names[i] = pl.Name
	}
	return names
}

// plug gives the row of name, or nil.
func plug(table []Plugin, name string) *Plugin {
	for i := range table {
		if table[i].Name == name {
			return &table[i]
		}
	}
	return nil
}

// fields lists the keys of the plug-in's struct; none where New gives no pointer
// to a struct.
func (pl *Plugin) fields() []field {
	t := reflect.TypeOf(pl.New())
	if t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return nil
	}
	return fieldsOf(t.Elem())
}

// plugged checks an entry that has the keys of type t and those of one plug-in.
func (c *checker) plugged(p path, e *entry, t reflect.Type, s slot) any {
	common := fieldsOf(t)
	var own []field
	pl := c.choose(p, e, common, s)
	if pl != nil {
		c.plugins[p.String()] = pl
		own = pl.fields()
	}
	out := make(map[string]any, len(e.val.keys))
	for i := range e.val.keys {
		k := &e.val.keys[i]
		// A key that both have is checked as the plug-in's: it is the narrower one.
		f, ok := fieldOf(own, k.key)
		if !ok {
			f, ok = fieldOf(common, k.key)
		}
		switch {
		case ok:
			c.keep(out, p, k, f)
		case pl == nil || plug(s.table, k.key) != nil:
			// choose has told of it, or nobody can tell whose key it is.
		default:
			c.unknown(p, k, slices.Concat(keysOf(own), keysOf(common)), p.String()+" ("+pl.Name+")")
		}
	}
	return out
}

// choose finds the one key that names a plug-in. It tells a problem and gives nil
// where there is none or more than one.
func (c *checker) choose(p path, e *entry, common []field, s slot) *Plugin {
	var first *entry
	for i := range e.val.keys {
		k := &e.val.keys[i]
		switch {
		case plug(s.table, k.key) == nil:
		case first == nil:
			first = k
		default:
			c.probs.add(k.at, fmt.Sprintf("%s has two %ss, %s and %s", p, s.kind, first.key, k.key), "keep one of them")
			return nil
		}
	}
	if first != nil {
		return plug(s.table, first.key)
	}
	for i := range e.val.keys {
		k := &e.val.keys[i]
		if _, ok := fieldOf(common, k.key); ok {
			continue
		}
		if slices.Contains(s.later, k.key) {
			c.probs.add(k.at, fmt.Sprintf("this version has no %s %s yet", s.kind, k.key), didYouHave(s))
			return nil
		}
		if near := nearest(k.key, s.names()); near != "" {
			c.probs.add(k.at, fmt.Sprintf("%s: there is no %s %s", p, s.kind, quote(k.key)), "did you mean "+near+"?")
			return nil
		}
	}
	c.probs.add(e.at, fmt.Sprintf("%s has no %s", p, s.kind), didYouHave(s))
	return nil
}

// didYouHave is the cure of a missing plug-in: those that there are.
func didYouHave(s slot) string {
	names := s.names()
	if len(names) == 0 {
		return "this program has none: take it out"
	}
	slices.Sort(names)
	return "it can be " + oneOf(names)
}

// inheritDefaults checks uplink_defaults and gives each uplink what it lacks of
// them. They may have any key that an uplink of some sender has.
func (c *checker) inheritDefaults(root *node) {
	e := root.entry("uplink_defaults")
	if e == nil {
		return
	}
	p, t := path{e.key}, reflect.TypeFor[Uplink]()
	if e.val.shape != dict {
		c.value(p, e.val, t)
		return
	}
	common, all := fieldsOf(t), fieldsOf(t)
	for _, pl := range c.tables.Senders {
		for _, f := range pl.fields() {
			if _, ok := fieldOf(all, f.key); !ok && plug(c.tables.Senders, f.key) == nil {
				all = append(all, f)
			}
		}
	}
	before, sets := c.count(), len(c.sets)
	for _, k := range e.val.keys {
		if plug(c.tables.Senders, k.key) != nil {
			c.probs.add(k.at, "uplink_defaults can't choose a sender ("+k.key+")", "write it in each uplink")
			return
		}
	}
	c.dict(p, e.val, all, p.String())
	c.sets = c.sets[:sets]
	if c.count() > before {
		return
	}
	uplinks := root.get("uplinks")
	if uplinks == nil {
		return
	}
	for _, u := range uplinks.keys {
		if u.val.shape != dict {
			continue
		}
		known := keysOf(common)
		for _, k := range u.val.keys {
			if pl := plug(c.tables.Senders, k.key); pl != nil {
				known = append(known, keysOf(pl.fields())...)
			}
		}
		inherit(u.val, e.val, known)
	}
}
