package config

import (
	"reflect"
	"slices"

	"fieldpost/edge"
)

// References are the secrets that the config has not itself, but says where to read
// (file:, env:, cred:), sorted, each once.
func (c *Config) References() []string {
	var found []string
	references(reflect.ValueOf(c), &found)
	slices.Sort(found)
	return slices.Compact(found)
}

func references(v reflect.Value, found *[]string) {
	if v.Type() == reflect.TypeFor[edge.Secret]() {
		if src := v.Interface().(edge.Secret).Source(); src != "" && src != "literal" {
			*found = append(*found, src)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			references(v.Elem(), found)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				references(v.Field(i), found)
			}
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			references(v.MapIndex(k), found)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			references(v.Index(i), found)
		}
	}
}
