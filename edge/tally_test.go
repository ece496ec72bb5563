package edge

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"fieldpost/queue"
)

func rowOf(t *testing.T, samples ...string) *thinRow {
	t.Helper()
	r := &thinRow{}
	for i, s := range samples {
		ev := Event{Name: "x", Kind: Sample, Data: []byte(s)}
		if err := ev.Validate(); err != nil {
			t.Fatal(err)
		}
		r.add(ev.Data, thinTime{stamp: queue.Stamp{Boot: 1, Mono: int64(i) * 10e9}})
	}
	return r
}

func TestRowSumsUpExactly(t *testing.T) {
	many := make([]string, 1000)
	for i := range many {
		many[i] = `{"value":0.1}`
	}
	for _, c := range []struct {
		name    string
		samples []string
		want    string
	}{
		{"whole numbers stay whole", []string{`{"value":3,"unit":"L"}`, `{"value":1,"unit":"L"}`, `{"value":2,"unit":"L"}`},
			`{"value":2,"min":1,"mean":2,"max":3,"last":2,"n":3,"unit":"L","span":20}`},
		{"one sample", []string{`{"value":-21.50}`}, `{"value":-21.5,"min":-21.50,"mean":-21.5,"max":-21.50,"last":-21.50,"n":1,"span":0}`},
		{"a bare number", []string{`1`, `2`}, `{"value":1.5,"min":1,"mean":1.5,"max":2,"last":2,"n":2,"span":10}`},
		{"beyond what a float tells apart", []string{`{"value":9007199254740993}`, `{"value":9007199254740992}`},
			`{"value":9007199254740992,"min":9007199254740992,"mean":9007199254740992,"max":9007199254740993,"last":9007199254740992,"n":2,"span":10}`},
		{"no rounding piles up", many, `{"value":0.1,"min":0.1,"mean":0.1,"max":0.1,"last":0.1,"n":1000,"span":9990}`},
		{"what cancels out", []string{`{"value":1e100}`, `{"value":1}`, `{"value":-1e100}`, `{"value":1}`}, `{"value":0.5,"min":-1e100,"mean":0.5,"max":1e100,"last":1,"n":4,"span":30}`},
		{"at the end of the floats", []string{`{"value":1.7e308}`, `{"value":1.7e308}`, `{"value":-1.7e308}`, `{"value":1.7e308}`},
			`{"value":8.5e+307,"min":-1.7e308,"mean":8.5e+307,"max":1.7e308,"last":1.7e308,"n":4,"span":30}`},
		{"a number that is none", []string{`{"value":1e999}`, `{"value":2}`}, `{"value":2,"min":2,"mean":2,"max":2,"last":2,"n":1,"others":1,"span":10}`},
		{"readings that failed", []string{`{"value":null,"unit":"V"}`, `{"value":4,"unit":"V"}`, `{"value":null,"unit":"V"}`},
			`{"value":4,"min":4,"mean":4,"max":4,"last":4,"n":1,"others":2,"unit":"V","span":20}`},
		{"words", []string{`{"value":"open"}`, `{"value":"shut"}`}, `{"last":"shut","n":2,"span":10}`},
		{"a list", []string{`[1,2]`, `[3]`}, `{"last":[3],"n":2,"span":10}`},
		{"several quantities", []string{`{"temperature":20.5,"humidity":40,"ok":true}`, `{"humidity":42,"temperature":21.5,"ok":false}`},
			`{"fields":{"temperature":{"min":20.5,"mean":21,"max":21.5,"last":21.5,"n":2},"humidity":{"min":40,"mean":41,"max":42,"last":42,"n":2},"ok":{"last":false,"n":2}},"span":10}`},
		{"an object in it", []string{`{"value":48,"memory":{"total":512,"free":{"low":1}}}`, `{"value":50,"memory":{"total":512,"free":{"low":3}}}`},
			`{"value":49,"min":48,"mean":49,"max":50,"last":50,"n":2,"fields":{"memory.total":{"min":512,"mean":512,"max":512,"last":512,"n":2},"memory.free.low":{"min":1,"mean":2,"max":3,"last":3,"n":2}},"span":10}`},
		{"a key given twice counts once", []string{`{"value":1,"value":5}`}, `{"value":1,"min":1,"mean":1,"max":1,"last":1,"n":1,"span":0}`},
		{"escapes in a key", []string{`{"a\"b":1}`}, `{"fields":{"a\"b":{"min":1,"mean":1,"max":1,"last":1,"n":1}},"span":0}`},
		{"nothing in it", []string{`{}`, `{}`}, `{"span":10}`},
		{"a number longer than any", []string{`0.10000000000000000000000000000000000000001`}, `{"value":0.1,"min":0.1,"mean":0.1,"max":0.1,"last":0.1,"n":1,"span":0}`},
	} {
		r := rowOf(t, c.samples...)
		ev := r.event("samples-1m")
		ev.Name = "x"
		if err := ev.Validate(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := string(r.data()); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", c.name, got, c.want)
		}
	}
}

// A row of rows says what one row of all their samples would have said.
func TestRowsSumUpToWhatOneWouldSay(t *testing.T) {
	var samples []string
	for i := range 360 {
		v := string(appendNumber(nil, 20+math.Sin(float64(i*i))*9))
		samples = append(samples, `{"value":`+v+`,"unit":"°C","b":`+v+`0001,"state":"s`+string(rune('a'+i%7))+`"}`)
		if i%50 == 3 {
			samples[i] = `{"value":null,"unit":"°C"}`
		}
	}
	whole := rowOf(t, samples...)
	hour := &thinRow{}
	for from := 0; from < len(samples); {
		to := min(from+1+from%11, len(samples))
		minute := &thinRow{}
		for i := from; i < to; i++ {
			minute.add([]byte(samples[i]), thinTime{stamp: queue.Stamp{Boot: 1, Mono: int64(i) * 10e9}})
		}
		var d rowData
		if err := json.Unmarshal(minute.data(), &d); err != nil {
			t.Fatal(err)
		}
		hour.merge(&d, minute.last)
		from = to
	}
	var got, want rowData
	if err := json.Unmarshal(hour.data(), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(whole.data(), &want); err != nil {
		t.Fatal(err)
	}
	check := func(name string, a, b tallied) {
		mean, _ := parseNumeral(a.Mean)
		wantMean, _ := parseNumeral(b.Mean)
		if string(a.Min) != string(b.Min) || string(a.Max) != string(b.Max) || string(a.Last) != string(b.Last) || a.N != b.N || a.Others != b.Others {
			t.Errorf("%s: %+v, want %+v", name, a, b)
		}
		if math.Abs(mean.f-wantMean.f) > 1e-12*math.Abs(wantMean.f) {
			t.Errorf("%s: mean %v, want %v", name, mean.f, wantMean.f)
		}
	}
	check("value", got.tallied, want.tallied)
	for name := range want.Fields {
		check(name, got.Fields[name], want.Fields[name])
	}
	if got.Span != want.Span || string(got.Unit) != `"°C"` || len(got.Fields) != 2 {
		t.Errorf("%s", hour.data())
	}
}

// A row stays an event that can be stored, whatever its samples hold.
func TestRowIsBounded(t *testing.T) {
	long := strings.Repeat("k", 190)
	r := &thinRow{key: thinKey{name: "x"}}
	for s := range 50 {
		var b strings.Builder
		b.WriteString(`{"` + strings.Repeat("n", 5000) + `":1`)
		for f := range 30 {
			b.WriteString(`,"` + long + string(rune('a'+s)) + string(rune('a'+f%26)) + `":"` + strings.Repeat("v", 2000+f) + `"`)
		}
		b.WriteString("}")
		r.add([]byte(b.String()), thinTime{})
	}
	ev := r.event("samples-1m")
	if err := ev.Validate(); err != nil {
		t.Fatal(err)
	}
	if len(ev.Data) < maxThinRow || !strings.Contains(string(ev.Data), `"left_out":`) {
		t.Errorf("%d bytes: %.200s", len(ev.Data), ev.Data)
	}
}

// FuzzRow: whatever a sample holds, its row and the row of its row are events that
// can be stored, and count it once.
func FuzzRow(f *testing.F) {
	f.Add(`{"value":1.5,"unit":"V","more":{"a":[1],"b":-0}}`, `{"value":null,"a":"b"}`)
	f.Add(`1e308`, `-1e308`)
	f.Add(`"\u0000"`, `[]`)
	f.Fuzz(func(t *testing.T, a, b string) {
		row := &thinRow{key: thinKey{name: "x"}}
		n := uint64(0)
		for _, data := range []string{a, b} {
			ev := Event{Name: "x", Kind: Sample, Data: []byte(data)}
			if ev.Validate() == nil {
				row.add(ev.Data, thinTime{})
				n++
			}
		}
		for range 2 {
			ev := row.event("x-1m")
			if err := ev.Validate(); err != nil {
				t.Fatalf("%v: %s", err, ev.Data)
			}
			var d rowData
			if err := json.Unmarshal(ev.Data, &d); err != nil || d.N+d.Others > n {
				t.Fatalf("%v: %s", err, ev.Data)
			}
			row = &thinRow{key: thinKey{name: "x"}}
			row.merge(&d, thinTime{})
		}
	})
}
