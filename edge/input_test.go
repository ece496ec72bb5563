package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseInput(t *testing.T) {
	for _, c := range []struct{ in, name, ring, kind, cause, data string }{
		{`{"name":"a","data":1}`, "a", "", "message", "", `1`},
		{" {\n\"data\" : {\"x\" : [ 1 , \"a b\" ]} , \"name\":\"k/\\u00e9\\n\"[:0]}", "", "", "", "", ""},
		{`{"data":{ "x" : [ 1 , "a \" b" ] } , "name":"k/\u00e9"} `, "k/é", "", "message", "", `{"x":[1,"a \" b"]}`},
		{`{"name":"a","data":null,"ring":"alarms","kind":"sample","cause":"7f3a9c21-20817"}`, "a", "alarms", "sample", "7f3a9c21-20817", `null`},
		{`{"\u006eame":"a","data":-0.5e+7}`, "a", "", "message", "", `-0.5e+7`},
		{`{"name":"a","data":[[],{},[{}],""]}`, "a", "", "message", "", `[[],{},[{}],""]`},
	} {
		ev, err := ParseInput([]byte(c.in))
		if c.name == "" {
			if err == nil {
				t.Errorf("%s was taken", c.in)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if ev.Name != c.name || ev.Ring != c.ring || string(ev.Kind) != c.kind || ev.Cause != c.cause || string(ev.Data) != c.data {
			t.Errorf("%s gave %+v data %s", c.in, ev, ev.Data)
		}
	}
}

func TestParseInputRefuses(t *testing.T) {
	long := strings.Repeat("x", MaxName+1)
	for in, want := range map[string]string{
		``:                                                          "ends where {",
		`[]`:                                                        "where {",
		`{}`:                                                        "data",
		`{"name":"a"}`:                                              `"data" is missing`,
		`{"data":1}`:                                                "no name",
		`{"name":"a","data":1}x`:                                    "the end",
		`{"name":"a","data":1,}`:                                    "a string",
		`{"name":"a","name":"b","data":1}`:                          "twice",
		`{"name":"a","data":1,"tme":2}`:                             `"tme" is not known: an event has name`,
		`{"Name":"a","data":1}`:                                     `"Name" is not known`,
		`{"name":"a","data":01}`:                                    "comma",
		`{"name":"a","data":1,"kind":"gap"}`:                        "message and sample",
		`{"name":"a","data":1,"kind":5}`:                            "not a string",
		`{"name":"a","data":1,"ring":"A"}`:                          "ring",
		`{"name":"a","data":1,"ring":""}`:                           "empty",
		`{"name":"a","data":1,"ring":"audit"}`:                      "agent's own",
		`{"name":"a","data":1,"cause":"x"}`:                         "cause",
		`{"name":"a\u0007","data":1}`:                               "control",
		"{\"name\":\"a\xff\",\"data\":1}":                           "UTF-8",
		"{\"name\":\"a\",\"data\":\"\xc3\x28\"}":                    "UTF-8",
		"{\"name\":\"a\",\"data\":\"\n\"}":                          "control",
		`{"name":"` + long + `","data":1}`:                          "over 256",
		`{"name":"a","data":1,"origin":{}}`:                         "origin needs",
		`{"name":"a","data":1,"origin":{"who":1}}`:                  "who",
		`{"name":"a","data":` + strings.Repeat("[", MaxDepth+1):     "deeper",
		`{"name":"a","data":"` + strings.Repeat("x", MaxEvent):      "over 128000",
		`{"name":"a","data":"` + strings.Repeat("x", 127800) + `"}`: "over 128000",
	} {
		_, err := ParseInput([]byte(in))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s gave %v, not %q", in, err, want)
		}
	}
	if _, err := ParseInput(make([]byte, MaxEvent+1)); !errors.Is(err, ErrTooBig) {
		t.Errorf("too much gave %v", err)
	}
}

func TestParseInputOrigin(t *testing.T) {
	ev, err := ParseInput([]byte(`{"name":"door","kind":"change","data":1,"origin":{"agent":"barn","id":"00000001-7","ring":"alarms","seq":7,"time":"2026-11-21T01:02:03+01:00"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if o := ev.Origin; ev.Kind != Change || o.Agent != "barn" || o.Seq != 7 || o.Time.Hour() != 0 {
		t.Fatalf("%+v %+v", ev, o)
	}
}

func TestValidate(t *testing.T) {
	good := Event{Name: "door", Kind: Change, Data: json.RawMessage("{\n \"value\": 1}")}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	if string(good.Data) != `{"value":1}` {
		t.Errorf("data is %s, not one line", good.Data)
	}
	for _, bad := range []Event{
		{Kind: Change, Data: json.RawMessage(`1`)},
		{Name: "a", Data: json.RawMessage(`1`)},
		{Name: "a", Kind: "x", Data: json.RawMessage(`1`)},
		{Name: "a", Kind: Change},
		{Name: "a", Kind: Change, Data: json.RawMessage(`1 2`)},
		{Name: "a", Kind: Change, Data: json.RawMessage(` 1`)},
		{Name: "a", Kind: Change, Data: json.RawMessage(`1`), Ring: "../x"},
		{Name: "a", Kind: Change, Data: json.RawMessage(`1`), From: "\xff"},
		{Name: "\u0085", Kind: Change, Data: json.RawMessage(`1`)},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}

// The scanner takes exactly what encoding/json takes, where it is UTF-8 and
// within MaxDepth.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e3,true,null,"\u12aB\n"]}`, `[[[`, ` 1`, `"\x"`, "\"\xff\"", `{"a" : {} , "b":[ ]}`, `01`, `1.`, `-`, `[1,]`, `{"a"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := scanner{b: b}
		s.space()
		v, err := s.value()
		s.space()
		ok := err == nil && s.i == len(b)
		want := json.Valid(b) && utf8.Valid(b)
		if ok != want {
			if want && strings.Count(string(b), "[")+strings.Count(string(b), "{") > MaxDepth {
				return
			}
			t.Fatalf("%q: %v, encoding/json says %v (%v)", b, ok, want, err)
		}
		if !ok {
			return
		}
		var buf bytes.Buffer
		if err := json.Compact(&buf, b); err != nil {
			t.Fatal(err)
		}
		if got := compact(v); !bytes.Equal(got, buf.Bytes()) {
			t.Fatalf("compact gave %q, not %q", got, buf.Bytes())
		}
		if s.spaced != (len(v) != buf.Len()) {
			t.Fatalf("%q: spaced is %v", b, s.spaced)
		}
	})
}

// What ParseInput takes is what encoding/json reads out of it.
func FuzzParseInput(f *testing.F) {
	f.Add([]byte(`{"name":"a","data":{"x":1},"ring":"r","kind":"sample","cause":"00000001-1"}`))
	f.Add([]byte(`{"n\u0061me":"\ud83d\ude00","data": [ 1 ] }`))
	f.Add([]byte(`{"name":"a","data":1,"origin":{"agent":"b","id":"c"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		ev, err := ParseInput(b)
		if err != nil {
			return
		}
		var w struct {
			Name, Ring, Kind, Cause string
			Data                    json.RawMessage
			Origin                  *Origin
		}
		if err := json.Unmarshal(b, &w); err != nil {
			t.Fatalf("%q was taken: %v", b, err)
		}
		var buf bytes.Buffer
		if err := json.Compact(&buf, w.Data); err != nil {
			t.Fatal(err)
		}
		if w.Kind == "" {
			w.Kind = "message"
		}
		if ev.Name != w.Name || ev.Ring != w.Ring || string(ev.Kind) != w.Kind || ev.Cause != w.Cause || !bytes.Equal(ev.Data, buf.Bytes()) {
			t.Fatalf("%q gave %+v (%s), not %+v", b, ev, ev.Data, w)
		}
		if err := ev.Validate(); err != nil {
			t.Fatalf("%q was taken and is not valid: %v", b, err)
		}
		if line := ev.AppendJSON(nil); !json.Valid(line) || !utf8.Valid(line) || len(line) > MaxEvent || bytes.IndexByte(line, '\n') >= 0 {
			t.Fatalf("%q gave %q", b, line)
		}
	})
}

func benchInput() []byte {
	return []byte(`{"name":"site7/pump/telemetry","data":{"value":23.4571,"unit":"C","state":"running","quality":"good","raw":[1021,1022,1019],"rpm":1450.25,"label":"pump north","seq":120817,"ok":true}}`)
}

func BenchmarkParseInput(b *testing.B) {
	in := benchInput()
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseInput(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	ev, _ := ParseInput(benchInput())
	b.ReportAllocs()
	for b.Loop() {
		if err := ev.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}
