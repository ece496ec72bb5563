package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"fieldpost/edge"
)

// Reference is one key that a config may have, for whoever writes a manual of them.
type Reference struct {
	Section string // the key in the first column, such as devices
	Plugin  string // the driver or sender that alone has it; "": all entries of the section
	Key     string // below the section, and below the name where entries have one, such as tls.ca; "": the section itself
	Kind    string // what a value is: time, size, pin, text and so on
	Default string // as it is written; "": none, or none that is the same everywhere
}

// References lists every key, in the order of the sections, and in each of them the
// plug-ins' own after those that all have.
func References(tables Tables) []Reference {
	var all []Reference
	for _, f := range fieldsOf(reflect.TypeFor[layout]()) {
		t := f.typ
		for t.Kind() == reflect.Map || t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || textTarget(t) != nil {
			all = append(all, Reference{Section: f.key, Kind: kindWord(t)})
			continue
		}
		all = below(all, Reference{Section: f.key}, t, reflect.Value{})
		table := tables.Senders
		switch {
		case t == deviceType:
			table = tables.Drivers
		case t != uplinkType || f.named == "":
			continue
		}
		for i := range table {
			if options := reflect.ValueOf(table[i].New()); len(table[i].fields()) > 0 {
				all = below(all, Reference{Section: f.key, Plugin: table[i].Name}, options.Type().Elem(), options.Elem())
			}
		}
	}
	return all
}

// below adds the keys of a struct, and of the structs in it. def has the defaults,
// where there are any.
func below(all []Reference, at Reference, t reflect.Type, def reflect.Value) []Reference {
	for _, f := range fieldsOf(t) {
		r, ft, v := at, f.typ, reflect.Value{}
		r.Key = strings.TrimPrefix(at.Key+"."+f.key, ".")
		if def.IsValid() {
			v = def.FieldByIndex(f.index)
		}
		if f.named != "" {
			r.Key += ".NAME"
		}
		for ft.Kind() == reflect.Pointer || ft.Kind() == reflect.Map && f.named != "" {
			if ft.Kind() == reflect.Pointer && v.IsValid() && !v.IsNil() {
				v = v.Elem()
			} else {
				v = reflect.Value{}
			}
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct && textTarget(ft) == nil {
			all = below(all, r, ft, v)
			continue
		}
		r.Kind, r.Default = kindWord(ft), defaultText(v)
		if v.IsValid() && v.CanInt() && r.Key == r.Plugin {
			r.Default = fmt.Sprintf("%#x", v.Int()) // an address on a bus
		}
		all = append(all, r)
	}
	return all
}

// kindWord says what a value of type t is.
func kindWord(t reflect.Type) string {
	switch t {
	case edgeDuration, stdDuration:
		return "time"
	case secretType:
		return "secret"
	case pinType:
		return "pin"
	case sizeType:
		return "size"
	case countType:
		return "count"
	case reflect.TypeFor[edge.Rate]():
		return "rate"
	}
	switch k := t.Kind(); {
	case textTarget(t) != nil || k == reflect.String:
		return "text"
	case k == reflect.Map || k == reflect.Struct:
		return "map"
	case k == reflect.Slice && !anyValue(t):
		return "list"
	case k == reflect.Bool:
		return "true or false"
	case anyValue(t):
		return "any value"
	}
	return "number"
}

// defaultText writes a scalar as the config has it; "" for zero and for what is none.
func defaultText(v reflect.Value) string {
	if !v.IsValid() || v.IsZero() || v.CanFloat() && math.IsInf(v.Float(), 0) {
		return ""
	}
	if d, ok := v.Interface().(time.Duration); ok {
		v = reflect.ValueOf(edge.Duration(d))
	}
	if v.Type() == secretType {
		return ""
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		if err != nil {
			return ""
		}
		return string(b)
	}
	switch k := v.Kind(); {
	case k == reflect.String, k == reflect.Bool, v.CanInt(), v.CanUint(), v.CanFloat():
		return fmt.Sprint(v.Interface())
	}
	return ""
}
