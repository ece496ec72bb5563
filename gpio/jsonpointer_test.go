package gpio

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// TestJSONPointer: the examples of RFC 6901, 5, and what is none.
func TestJSONPointer(t *testing.T) {
	doc := []byte(` {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8} `)
	for path, want := range map[string]string{
		"/foo": `["bar", "baz"]`, "/foo/0": `"bar"`, "/": "0", "/a~1b": "1", "/c%d": "2", "/e^f": "3", "/g|h": "4", "/i\\j": "5", "/k\"l": "6", "/ ": "7", "/m~0n": "8",
		"foo.1": `"baz"`, "m~n": "8",
	} {
		p, err := parsePointer(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.find(doc); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	}
	for path, want := range map[string]string{
		"/bar": `look for /bar: there is no key "bar"`, "/foo/2": `an array of 2 has no "2"`, "/foo/-": `has no "-"`, "/foo/01": `has no "01"`, "/foo/+1": `has no "+1"`,
		"/foo/0/x": `look for /foo/0/x: "bar" has nothing below it`,
	} {
		p, err := parsePointer(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.find(doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, bad := range []string{"/a~", "/a~2", "/" + strings.Repeat("/", maxPointer)} {
		if _, err := parsePointer(bad); err == nil {
			t.Errorf("%s is a path", bad)
		}
	}
	if _, err := (jsonPointer{"a"}).find([]byte(`{"a":1`)); err == nil || err.Error() != `it is no JSON: "{\"a\":1"` {
		t.Error(err)
	}
}

// walk finds a value in a decoded tree, which is the plain way.
func walk(v any, p jsonPointer) (any, bool) {
	for _, step := range p {
		switch x := v.(type) {
		case map[string]any:
			next, ok := x[step]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			n, err := strconv.Atoi(step)
			if err != nil || strconv.Itoa(n) != step || n < 0 || n >= len(x) {
				return nil, false
			}
			v = x[n]
		default:
			return nil, false
		}
	}
	return v, true
}

// FuzzJSONPointer: it finds what a walk through the decoded tree finds, and a path
// that was read and written is the same.
func FuzzJSONPointer(f *testing.F) {
	f.Add([]byte(`{"main":{"temp":21.5}}`), "main.temp")
	f.Add([]byte(`[1,[2,{"a/b":null}]]`), "/1/1/a~1b")
	f.Add([]byte(`{"":{"":"x"}}`), "//")
	f.Add([]byte(`{"a":1,"a":[]}`), "/a/0")
	f.Fuzz(func(t *testing.T, doc []byte, path string) {
		p, err := parsePointer(path)
		if err != nil {
			return
		}
		if again, err := parsePointer(p.String()); err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%q is %q, and that %q, %v", path, p, again, err)
		}
		raw, err := p.find(doc)
		var tree any
		if json.Unmarshal(doc, &tree) != nil {
			if err == nil && json.Valid(doc) == false {
				t.Errorf("there is %s in what is no JSON", raw)
			}
			return
		}
		want, ok := walk(tree, p)
		if ok != (err == nil) {
			t.Fatalf("%v, %v", ok, err)
		}
		var got any
		if ok && (json.Unmarshal(raw, &got) != nil || !reflect.DeepEqual(got, want)) {
			t.Errorf("%s, want %v", raw, want)
		}
	})
}
