package config

import (
	"reflect"
)

// plain gives the value of n as JSON has it: nil, bool, int64, float64, string,
// []any or map[string]any. What is no plain number stays text.
func (n *node) plain() any {
	switch n.shape {
	case list:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			out[i] = item.plain()
		}
		return out
	case dict:
		out := make(map[string]any, len(n.keys))
		for _, e := range n.keys {
			out[e.key] = e.val.plain()
		}
		return out
	case scalar:
		return n.plainScalar()
	}
	return nil
}

func (n *node) plainScalar() any {
	var v any
	var m *mistake
	switch n.tag {
	case "!!bool":
		v, m = readBool(n)
	case "!!int":
		v, m = readInt(n, reflect.TypeFor[int64]())
	case "!!float":
		v, m = readFloat(n)
	default:
		return n.text
	}
	if m != nil {
		return n.text
	}
	return v
}

// assign decodes n, which was checked, into v without viper: keys keep their case
// and dots. What had a problem stays zero.
func assign(n *node, v reflect.Value) {
	if n.shape == null {
		return
	}
	t := v.Type()
	switch {
	case anyValue(t):
		setAny(n, v)
		return
	case textTarget(t) != nil:
		if x, err := readText(textTarget(t), n.text); err == nil && n.shape == scalar {
			v.Set(x.Convert(t))
		}
		return
	}
	switch t.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		assign(n, v.Elem())
	case reflect.Struct:
		for _, f := range fieldsOf(t) {
			if val := n.get(f.key); val != nil {
				assign(val, v.FieldByIndex(f.index))
			}
		}
	case reflect.Map:
		assignMap(n, v)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(t, len(n.items), len(n.items)))
		for i, item := range n.items {
			assign(item, v.Index(i))
		}
	default:
		if n.shape != scalar {
			return
		}
		if x, m := readScalar(n, t); m == nil {
			v.Set(reflect.ValueOf(x).Convert(t))
		}
	}
}

func assignMap(n *node, v reflect.Value) {
	t := v.Type()
	if t.Key().Kind() != reflect.String || n.shape != dict {
		return
	}
	m := reflect.MakeMapWithSize(t, len(n.keys))
	for _, e := range n.keys {
		elem := reflect.New(t.Elem()).Elem()
		assign(e.val, elem)
		m.SetMapIndex(reflect.ValueOf(e.key).Convert(t.Key()), elem)
	}
	v.Set(m)
}
