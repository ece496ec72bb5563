package config

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/spf13/viper"
)

// delimiter joins the keys of a path for viper. No key has it, for the parser
// takes no control characters; a dot would split a user's key.
const delimiter = "\x1f"

// typed checks the merged tree, decodes it and checks what only values can tell.
func (l *loader) typed(dataDir string) *Config {
	fields := fieldsOf(reflect.TypeFor[layout]())
	c := newChecker(l.probs, l.src.Tables)
	spellOut(l.root)
	c.inheritDefaults(l.root)
	body := *l.root
	body.keys = nil
	for _, e := range l.root.keys {
		if e.key != "uplink_defaults" {
			body.keys = append(body.keys, e)
		}
	}
	doc := c.dict(nil, &body, fields, "")

	v := viper.NewWithOptions(viper.KeyDelimiter(delimiter))
	for key, value := range l.defaults(dataDir) {
		v.SetDefault(key, value)
	}
	if err := v.MergeConfigMap(doc); err != nil {
		l.fault("merge", err)
	}
	for _, s := range c.sets {
		v.Set(strings.Join(s.path, delimiter), s.value)
	}
	cfg := &Config{}
	settings := v.AllSettings()
	if err := v.Unmarshal(cfg, viper.DecodeHook(decodeHook)); err != nil {
		l.fault("decode", err)
		return cfg
	}
	fill(&body, reflect.ValueOf(cfg).Elem())
	l.plugins(cfg, c, settings)
	l.finish(cfg, c)
	return cfg
}

// defaults are the values that viper falls back to, by its own key.
func (l *loader) defaults(dataDir string) map[string]any {
	m := map[string]any{
		"data_dir": dataDir,
		strings.Join([]string{"api", "listen"}, delimiter): []any{":8716"},
		strings.Join([]string{"api", "socket"}, delimiter): DefaultSocket(l.src.Plain, l.src.Env),
	}
	for _, d := range ringDefaults {
		m[strings.Join([]string{"store", "rings", d.ring, d.key}, delimiter)] = d.value
	}
	return m
}

// fault tells of a value that passed the check and can't be decoded: a fault of
// this program or of a plug-in's struct. The cause may have the value in it, and
// so is left out.
func (l *loader) fault(step string, _ error) {
	l.probs.add(l.root.at, "can't "+step+" a value that was checked: a fault of this program", "report it with fieldpost version")
}

// decodeHook reads what reads itself from text.
func decodeHook(from, to reflect.Type, data any) (any, error) {
	if from.Kind() != reflect.String || textTarget(to) == nil {
		return data, nil
	}
	v, err := readText(textTarget(to), data.(string))
	if err != nil {
		return nil, err
	}
	return v.Convert(to).Interface(), nil
}

// plugins decodes the struct of each device's driver and each uplink's sender.
func (l *loader) plugins(cfg *Config, c *checker, settings map[string]any) {
	for name, d := range cfg.Devices {
		if pl := c.plugins["devices."+name]; pl != nil && d != nil {
			d.Driver = pl.Name
			d.defaults = pl.New()
			d.Options = l.options(pl, "devices", name, settings)
		}
	}
	for name, u := range cfg.Uplinks {
		if pl := c.plugins["uplinks."+name]; pl != nil && u != nil {
			u.Sender = pl.Name
			u.defaults = pl.New()
			u.Options = l.options(pl, "uplinks", name, settings)
		}
	}
}

// options decodes one entry into the struct of its plug-in, over its defaults.
func (l *loader) options(pl *Plugin, section, name string, settings map[string]any) any {
	into := pl.New()
	fs := pl.fields()
	n := l.root.find(section, name)
	if fs == nil || n == nil {
		return into
	}
	clearLists(n, reflect.ValueOf(into).Elem(), fs)
	all, _ := settings[section].(map[string]any)
	mine, _ := all[name].(map[string]any)
	own := make(map[string]any)
	for _, f := range fs {
		if value, ok := mine[strings.ToLower(f.key)]; ok {
			own[f.key] = value
		}
	}
	v := viper.NewWithOptions(viper.KeyDelimiter(delimiter))
	if err := v.MergeConfigMap(own); err != nil {
		l.fault("merge", err)
	}
	if err := v.Unmarshal(into, viper.DecodeHook(decodeHook)); err != nil {
		l.fault("decode", err)
		return into
	}
	fill(n, reflect.ValueOf(into).Elem())
	return into
}

// clearLists empties the lists that the user sets: a decode would mix them with
// the defaults item by item.
func clearLists(n *node, v reflect.Value, fs []field) {
	for _, f := range fs {
		fv := v.FieldByIndex(f.index)
		switch val := n.get(f.key); {
		case val == nil:
		case fv.Kind() == reflect.Slice:
			fv.SetZero()
		case fv.Kind() == reflect.Struct && val.shape == dict && textTarget(fv.Type()) == nil:
			clearLists(val, fv, fieldsOf(fv.Type()))
		}
	}
}

// fill sets what viper can't carry, from the tree: maps whose keys are the
// user's own and values of any kind. It also makes the named entries and structs
// that are empty, which viper forgets. n was checked; what had a problem stays
// zero.
func fill(n *node, v reflect.Value) {
	if n == nil || n.shape != dict {
		return
	}
	for _, f := range fieldsOf(v.Type()) {
		val := n.get(f.key)
		if val == nil || val.shape == null {
			continue
		}
		fv := v.FieldByIndex(f.index)
		if f.named == "" {
			fillValue(val, fv)
			continue
		}
		fillNamed(val, fv)
	}
}

// fillNamed fills each named entry, and adds the ones that viper forgot.
func fillNamed(n *node, v reflect.Value) {
	if n.shape != dict {
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for _, e := range n.keys {
		if e.val.shape != dict {
			continue
		}
		key := reflect.ValueOf(e.key)
		elem := reflect.New(v.Type().Elem()).Elem()
		if have := v.MapIndex(key); have.IsValid() {
			elem.Set(have)
		}
		target := elem
		if elem.Kind() == reflect.Pointer {
			if elem.IsNil() {
				elem.Set(reflect.New(elem.Type().Elem()))
			}
			target = elem.Elem()
		}
		fill(e.val, target)
		v.SetMapIndex(key, elem)
	}
}

// fillValue fills one value where it is or holds something that viper can't
// carry.
func fillValue(n *node, v reflect.Value) {
	t := v.Type()
	switch {
	case anyValue(t):
		setAny(n, v)
	case textTarget(t) != nil:
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct && textTarget(t.Elem()) == nil && n.shape == dict:
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		fill(n, v.Elem())
	case t.Kind() == reflect.Struct:
		fill(n, v)
	case t.Kind() == reflect.Map:
		assign(n, v)
	case t.Kind() == reflect.Slice && (anyValue(t.Elem()) || t.Elem().Kind() == reflect.Map):
		assign(n, v)
	case t.Kind() == reflect.Slice:
		for i := 0; i < len(n.items) && i < v.Len(); i++ {
			fillValue(n.items[i], v.Index(i))
		}
	}
}

// setAny sets an interface or raw JSON to what the user wrote.
func setAny(n *node, v reflect.Value) {
	x := n.plain()
	if v.Type() == rawJSONType {
		if b, err := json.Marshal(x); err == nil {
			v.SetBytes(b)
		}
		return
	}
	if x != nil && reflect.TypeOf(x).AssignableTo(v.Type()) {
		v.Set(reflect.ValueOf(x))
	}
}
