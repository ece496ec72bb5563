package config

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"fieldpost/edge"
)

// secretKey finds the user's own keys that are likely to have a secret below:
// the headers of a request.
var secretKey = regexp.MustCompile(`(?i)auth|token|secret|passw|key|cookie|credential`)

// String is Redacted as text.
func (c *Config) String() string { return string(c.Redacted()) }

// Redacted gives the whole config, with its defaults, as YAML without a secret in
// it. Where a secret is read from (file:, env:, cred:) is shown.
func (c *Config) Redacted() []byte {
	var w writer
	root := w.structure(reflect.ValueOf(c).Elem(), reflect.Value{})
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if enc.Encode(root) != nil || enc.Close() != nil {
		return nil
	}
	return b.Bytes()
}

// hashOf is 12 hex digits that tell two configs apart. It is made of the redacted
// text, since it is sent upstream and a hash of a short secret gives it away.
func hashOf(redacted []byte) string {
	sum := sha256.Sum256(redacted)
	return hex.EncodeToString(sum[:6])
}

// writer makes YAML nodes of typed values.
type writer struct {
	secret int // above 0 below a key that is likely to have a secret
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// zero is a 0 without a unit.
func zero() *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: "0"} }

// structure gives a struct as a mapping of its keys. An empty value is left out,
// unless its default is not empty.
func (w *writer) structure(v reflect.Value, defaults reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	w.fields(n, v, defaults)
	switch x := v.Interface().(type) {
	case Device:
		w.options(n, x.Driver, x.Options, x.defaults)
	case Uplink:
		w.options(n, x.Sender, x.Options, x.defaults)
	case APIConfig:
		if len(x.Listen) == 0 {
			n.Content = append(n.Content, text("listen"), text("off"))
		}
	case RingConfig:
		if x.Sync == 0 {
			n.Content = append(n.Content, text("sync"), zero())
		}
	case StoreConfig:
		if x.Headroom < 0 {
			n.Content = append(n.Content, text("headroom"), zero())
		}
	}
	return n
}

// options adds the keys of a plug-in's struct that are not there yet. The key
// that chooses the plug-in is there even with an empty value.
func (w *writer) options(n *yaml.Node, plugin string, options, defaults any) {
	v, d := reflect.ValueOf(options), reflect.ValueOf(defaults)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return
	}
	if d.Kind() == reflect.Pointer {
		d = d.Elem()
	}
	w.fields(n, v.Elem(), d)
	if f, ok := fieldOf(fieldsOf(v.Elem().Type()), plugin); ok && !hasKey(n, plugin) {
		n.Content = append(n.Content, text(plugin), empty(f.typ))
	}
}

// zeroText is the node of an empty value, as its own text where it has one.
func zeroText(v reflect.Value) *yaml.Node {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		if b, err := m.MarshalText(); err == nil && len(b) > 0 {
			return text(string(b))
		}
	}
	return empty(v.Type())
}

// infinite reports whether v stands for "no bound", which has no text.
func infinite(v reflect.Value) bool {
	return v.CanFloat() && (math.IsInf(v.Float(), 0) || math.IsNaN(v.Float()))
}

// empty is the node of an empty value of type t.
func empty(t reflect.Type) *yaml.Node {
	switch {
	case t == edgeDuration || t == stdDuration || t == sizeType || t == countType:
		return zero()
	case textTarget(t) != nil || t.Kind() == reflect.String:
		return text("")
	case t.Kind() == reflect.Slice && t != rawJSONType:
		return &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	case t.Kind() == reflect.Struct || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer:
		return &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
}

func hasKey(n *yaml.Node, key string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

func (w *writer) fields(n *yaml.Node, v, defaults reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		if hasKey(n, f.key) {
			continue
		}
		fv, d := v.FieldByIndex(f.index), reflect.Value{}
		if defaults.IsValid() {
			d = defaults.FieldByIndex(f.index)
		}
		var val *yaml.Node
		if fv.Kind() == reflect.Struct && textTarget(f.typ) == nil {
			if val = w.structure(fv, d); len(val.Content) == 0 {
				val = nil
			}
		} else {
			val = w.value(fv)
		}
		if val == nil && d.IsValid() && !d.IsZero() && !infinite(fv) && (fv.Kind() != reflect.Struct || textTarget(f.typ) != nil) {
			val = zeroText(fv)
		}
		if val != nil {
			n.Content = append(n.Content, text(f.key), val)
		}
	}
}

// value gives v as a node, or nil where it is empty.
func (w *writer) value(v reflect.Value) *yaml.Node {
	switch x := v.Interface().(type) {
	case edge.Secret:
		switch src := x.Source(); src {
		case "":
			return nil
		case "literal":
			return text(x.String())
		default:
			return text(src)
		}
	case json.RawMessage:
		var any any
		if json.Unmarshal(x, &any) != nil {
			return nil
		}
		return w.value(reflect.ValueOf(&any).Elem())
	case encoding.TextMarshaler:
		if v.IsZero() || v.Type() == sizeType && v.Int() < 0 {
			return nil
		}
		b, err := x.MarshalText()
		if err != nil {
			return nil
		}
		return w.masked(string(b))
	}
	return w.kind(v)
}

func (w *writer) kind(v reflect.Value) *yaml.Node {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return w.value(v.Elem())
	case reflect.Struct:
		if n := w.structure(v, reflect.Value{}); len(n.Content) > 0 {
			return n
		}
		return nil
	case reflect.Map:
		return w.userMap(v)
	case reflect.Slice:
		if v.Len() == 0 {
			return nil
		}
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for i := range v.Len() {
			item := w.value(v.Index(i))
			if item == nil {
				item = empty(v.Type().Elem())
			}
			n.Content = append(n.Content, item)
		}
		return n
	case reflect.String:
		if v.Len() == 0 {
			return nil
		}
		return w.masked(v.String())
	}
	n := &yaml.Node{}
	if infinite(v) || n.Encode(v.Interface()) != nil {
		return nil
	}
	return n
}

// masked is a text without the login of a URL, and nothing of it below a key that
// is likely to have a secret.
func (w *writer) masked(s string) *yaml.Node {
	if w.secret > 0 {
		return text("********")
	}
	return text(hideLogin(s))
}

// userMap gives a map in the order of its keys.
func (w *writer) userMap(v reflect.Value) *yaml.Node {
	if v.Len() == 0 || v.Type().Key().Kind() != reflect.String {
		return nil
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	keys := slices.SortedFunc(maps.Keys(keySet(v)), strings.Compare)
	named := isNamed(v.Type())
	for _, key := range keys {
		guess := !named && secretKey.MatchString(key)
		if guess {
			w.secret++
		}
		val := w.value(v.MapIndex(reflect.ValueOf(key).Convert(v.Type().Key())))
		if guess {
			w.secret--
		}
		if val == nil {
			val = empty(v.Type().Elem())
		}
		n.Content = append(n.Content, text(key), val)
	}
	return n
}

// isNamed reports whether the keys of a map are names from our own sections,
// which are no guess at a secret (a device may be called keypad).
func isNamed(t reflect.Type) bool {
	elem := t.Elem()
	if elem.Kind() == reflect.Pointer {
		elem = elem.Elem()
	}
	return elem.Kind() == reflect.Struct && elem.PkgPath() == reflect.TypeFor[Config]().PkgPath()
}

func keySet(v reflect.Value) map[string]bool {
	set := make(map[string]bool, v.Len())
	for _, k := range v.MapKeys() {
		set[k.String()] = true
	}
	return set
}
