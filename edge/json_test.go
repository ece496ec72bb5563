package edge

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"
)

func stored() Event {
	return Event{
		Epoch: 0x7f3a9c21, N: 20817, Ring: "alarms", Seq: 1042, Agent: "greenhouse", Name: "door", Kind: Change,
		Time: time.Date(2026, 11, 21, 1, 32, 15, 123456000, time.UTC), Clock: Synced, Boot: "b1946ac9", Mono: 812345678901,
		From: "device:door", Data: json.RawMessage(`{"value":true,"state":"open"}`),
	}
}

func TestAppendJSON(t *testing.T) {
	ev := stored()
	const want = `{"id":"7f3a9c21-20817","n":20817,"ring":"alarms","seq":1042,"agent":"greenhouse","name":"door","kind":"change",` +
		`"time":"2026-11-21T01:32:15.123456Z","clock":"synced","boot":"b1946ac9","mono":812345678901,"from":"device:door",` +
		`"data":{"value":true,"state":"open"}}`
	if got := string(ev.AppendJSON(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	gap := Event{Epoch: 0x7f3a9c21, Ring: "alarms", Seq: 9, Agent: "greenhouse", Name: "gap", Kind: Gap, Hole: &Hole{From: 3, To: 9, Count: 7, Cause: "evicted"}}
	const wantGap = `{"id":"7f3a9c21-alarms-3..9","ring":"alarms","seq":9,"agent":"greenhouse","name":"gap","kind":"gap",` +
		`"data":{"from":3,"to":9,"count":7,"cause":"evicted"}}`
	if got := string(gap.AppendJSON(nil)); got != wantGap {
		t.Errorf("got  %s\nwant %s", got, wantGap)
	}
	if gap.ID() != "7f3a9c21-alarms-3..9" || ev.ID() != "7f3a9c21-20817" || (&Event{}).ID() != "" {
		t.Error(gap.ID(), ev.ID())
	}
}

func TestJSONRoundTrip(t *testing.T) {
	full := stored()
	full.Name, full.From = "a\"\\\u2028ü<&>", "client:tab\tand\x01"
	full.Bound, full.Cause = 12345678*time.Nanosecond, "7f3a9c21-1"
	full.Origin = &Origin{Agent: "barn", ID: "00000001-7", Ring: "r", Seq: 7, Time: time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)}
	wide := stored()
	wide.N, wide.Seq, wide.Mono, wide.Bound, wide.Clock = math.MaxUint64, math.MaxUint64, math.MinInt64, 3*time.Hour, Unsynced
	gap := Event{Epoch: 1, Ring: "a-b", Seq: 9, Agent: "g", Name: "gap", Kind: Gap, Hole: &Hole{From: 3, To: 9, Count: 7, Cause: "damage"}, Data: json.RawMessage(`{"from":3,"to":9,"count":7,"cause":"damage"}`)}
	for _, want := range []Event{stored(), full, wide, gap} {
		var got Event
		if err := json.Unmarshal(want.AppendJSON(nil), &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		viaMarshal, err := json.Marshal(want)
		if err != nil || !json.Valid(viaMarshal) {
			t.Error(err)
		}
	}
}

func TestReadJSONRefuses(t *testing.T) {
	for _, in := range []string{
		`{}`, `{"id":"x","n":1}`, `{"id":"00000001-2","n":1}`, `{"id":"00000001-1","n":1,"bound":-1}`, `{"id":"00000001-1","n":1,"bound":1e300}`,
		`{"kind":"gap","id":"00000001-r-1..2","seq":2,"data":{}}`, `{"kind":"gap","id":"0","seq":2,"data":{"from":1,"to":2}}`, `{"kind":"gap","seq":1}`,
	} {
		var e Event
		if err := json.Unmarshal([]byte(in), &e); err == nil {
			t.Errorf("%s was read as %+v", in, e)
		}
	}
}

func TestAppendTime(t *testing.T) {
	for _, c := range []time.Time{
		{}, time.Unix(0, 0), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Date(2026, 2, 3, 4, 5, 6, 1000, time.FixedZone("x", 3600)),
	} {
		got, err := time.Parse(time.RFC3339Nano, string(appendTime(nil, c)))
		if err != nil || !got.Equal(c) {
			t.Errorf("%v became %v (%v)", c, got, err)
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, string(appendTime(nil, time.Unix(math.MaxInt64/2, 0)))); err != nil {
		t.Error(err)
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\xff\"\\\n\u2028\x7f")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		var std string
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &std); err != nil || std != got {
			t.Fatalf("%q came back as %q, by encoding/json as %q", s, got, std)
		}
	})
}

func FuzzReadJSON(f *testing.F) {
	ev := stored()
	f.Add(ev.AppendJSON(nil))
	f.Add([]byte(`{"kind":"gap","id":"00000001-r-1..2","seq":2,"ring":"r","data":{"from":1,"to":2,"count":2,"cause":"age"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Event
		if json.Unmarshal(b, &e) != nil {
			return
		}
		line := e.AppendJSON(nil)
		var e2 Event
		if err := json.Unmarshal(line, &e2); err != nil {
			t.Fatalf("%q became %q: %v", b, line, err)
		}
		if e.ID() != e2.ID() || e.Name != e2.Name || e.Bound != e2.Bound || e.Mono != e2.Mono {
			t.Fatalf("%+v\n%+v", e, e2)
		}
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	ev := stored()
	ev.Data = benchInput()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = ev.AppendJSON(buf[:0])
	}
}
