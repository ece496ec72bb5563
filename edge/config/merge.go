package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
)

// shared reports whether the map at p may be spread over files: a section, and
// the rings of the store. What is below has one home.
func shared(p path) bool {
	return len(p) <= 1 || len(p) == 2 && p[0] == "store" && p[1] == "rings"
}

// merge adds the keys of src to dst, both dicts at p. The same object in two
// files is a problem that names both.
func merge(p path, dst, src *node, probs *Problems) {
	for _, e := range src.keys {
		have := dst.entry(e.key)
		at := p.with(e.key)
		switch {
		case have == nil:
			dst.keys = append(dst.keys, entry{e.key, e.at, e.val.clone()})
		case have.val.shape == dict && e.val.shape == dict && shared(at):
			merge(at, have.val, e.val, probs)
		default:
			probs.add(e.at, fmt.Sprintf("%s is also in %s", at, have.at), "keep one of them")
		}
	}
}

// panel is what the API wrote: whole objects that replace or delete those of the
// files.
type panel struct {
	file     string
	replaced map[string]string // path -> hash of what the files have there now
	noted    *node             // the hashes that were kept at the time
	warnings []string
}

// apply puts src, the tree of panel.yaml, over dst.
func (pn *panel) apply(dst, src *node, probs *Problems) {
	pn.noted = src.get("replaced")
	if pn.noted != nil && pn.noted.shape != dict {
		probs.add(pn.noted.at, "replaced needs a map, this is "+pn.noted.shape.String(), "take it out")
		pn.noted = nil
	}
	for _, e := range src.keys {
		switch {
		case e.key == "replaced":
		case e.key == "data_dir":
			probs.add(e.at, "data_dir can't be set in a file that is in the data_dir", "set it in the main file")
		case e.val.shape == null && e.val.tag != "refused":
			probs.add(e.at, e.key+" has no value", "null deletes what is in a section, never a section")
		default:
			pn.section(nil, dst, e, probs)
		}
	}
}

// section replaces what is in the section e, or goes one deeper into the rings.
func (pn *panel) section(p path, dst *node, e entry, probs *Problems) {
	at := p.with(e.key)
	have := dst.entry(e.key)
	if e.val.shape != dict || !shared(at) || have != nil && have.val.shape != dict {
		pn.replace(at, dst, e)
		return
	}
	if have == nil {
		dst.set(entry{e.key, e.at, &node{shape: dict, at: e.val.at}})
		have = dst.entry(e.key)
	}
	into := have.val
	for _, sub := range e.val.keys {
		pn.section(at, into, sub, probs)
	}
}

// replace puts the object e into dst, or deletes it there where e is null.
func (pn *panel) replace(p path, dst *node, e entry) {
	key := p.String()
	if have := dst.entry(e.key); have != nil {
		h := digest(have.val)
		pn.replaced[key] = h
		if was := pn.noted.get(key); was != nil && was.text != h {
			pn.warnings = append(pn.warnings, fmt.Sprintf("%s: %s has changed in %s since this replaced it; this one counts", e.at, key, have.at.file))
		}
	}
	if e.val.shape != null || e.val.tag == "refused" {
		dst.set(e)
		return
	}
	if !dst.drop(e.key) {
		pn.warnings = append(pn.warnings, fmt.Sprintf("%s: %s is deleted here, and no file has it", e.at, key))
	}
}

// digest tells two values apart: 16 hex digits. The order of keys and the place
// don't matter.
func digest(n *node) string {
	h := sha256.New()
	n.digest(h)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (n *node) digest(w hash.Hash) {
	switch n.shape {
	case scalar:
		fmt.Fprintf(w, "%s %q ", n.tag, n.text)
	case null:
		io.WriteString(w, "null ")
	case list:
		io.WriteString(w, "[ ")
		for _, item := range n.items {
			item.digest(w)
		}
		io.WriteString(w, "] ")
	case dict:
		io.WriteString(w, "{ ")
		keys := slices.SortedFunc(slices.Values(n.keys), func(a, b entry) int { return strings.Compare(a.key, b.key) })
		for _, e := range keys {
			fmt.Fprintf(w, "%q ", e.key)
			e.val.digest(w)
		}
		io.WriteString(w, "} ")
	}
}

// inherit gives the uplink n the keys of the defaults that it does not have
// itself, map by map. known limits it to the keys that this uplink takes.
func inherit(n, defaults *node, known []string) {
	for _, e := range defaults.keys {
		if known != nil && !slices.Contains(known, e.key) {
			continue
		}
		have := n.entry(e.key)
		switch {
		case have == nil:
			n.keys = append(n.keys, entry{e.key, e.at, e.val.clone()})
		case have.val.shape == dict && e.val.shape == dict:
			inherit(have.val, e.val, nil)
		}
	}
}
