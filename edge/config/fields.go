package config

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"fieldpost/edge"
)

// field is one key that a struct may have.
type field struct {
	key   string
	index []int // for reflect's FieldByIndex
	typ   reflect.Type
	named string // the keys below are names of this kind, else ""
}

// fieldsOf lists the keys of a struct: its fields with a mapstructure tag, those
// of squashed structs included. A field without a tag is no key.
func fieldsOf(t reflect.Type) []field {
	var fs []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("mapstructure")
		key, opts, _ := strings.Cut(tag, ",")
		switch {
		case !f.IsExported() || !ok || key == "-":
		case opts == "squash" && f.Type.Kind() == reflect.Struct:
			for _, sub := range fieldsOf(f.Type) {
				sub.index = append([]int{i}, sub.index...)
				fs = append(fs, sub)
			}
		case key != "":
			fs = append(fs, field{key: key, index: []int{i}, typ: f.Type, named: f.Tag.Get("named")})
		}
	}
	return fs
}

// fieldOf gives the field of key.
func fieldOf(fs []field, key string) (field, bool) {
	for _, f := range fs {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// keysOf gives the keys of fields.
func keysOf(fs []field) []string {
	keys := make([]string, len(fs))
	for i, f := range fs {
		keys[i] = f.key
	}
	return keys
}

// The types that the check treats in their own way.
var (
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	rawJSONType  = reflect.TypeFor[json.RawMessage]()
	stdDuration  = reflect.TypeFor[time.Duration]()
	edgeDuration = reflect.TypeFor[edge.Duration]()
	secretType   = reflect.TypeFor[edge.Secret]()
	pinType      = reflect.TypeFor[edge.Pin]()
	deviceType   = reflect.TypeFor[Device]()
	uplinkType   = reflect.TypeFor[Uplink]()
	sizeType     = reflect.TypeFor[edge.Size]()
	countType    = reflect.TypeFor[edge.Count]()
)

// textTarget is the type whose UnmarshalText reads a value of type t, or nil. A
// standard Duration is read as ours is, with its unit.
func textTarget(t reflect.Type) reflect.Type {
	switch {
	case t == stdDuration:
		return edgeDuration
	case t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(textType):
		return t
	}
	return nil
}

// readText reads text into a new value of type t, which textTarget gave.
func readText(t reflect.Type, text string) (reflect.Value, error) {
	v := reflect.New(t)
	err := v.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	return v.Elem(), err
}

// anyValue reports whether a value of type t takes whatever the user writes.
func anyValue(t reflect.Type) bool {
	return t.Kind() == reflect.Interface || t == rawJSONType
}
