package edge

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fullEvents are events that use every field there is.
func fullEvents() []Event {
	return []Event{
		{Name: "door", Kind: Change, From: "device:door", Data: json.RawMessage(`{"value":true,"state":"open"}`)},
		{Name: "a", Kind: Message, From: "client:x", Cause: "7f3a9c21-20817", Data: json.RawMessage(`null`)},
		{Name: "ü ␀", Kind: Sample, From: "", Cause: "not-an-id", Data: json.RawMessage(`[1,2]`)},
		{Name: "x", Kind: "later", From: "rule:night", Data: json.RawMessage(`1`)},
		{Name: "gap", Kind: Gap, From: "client:peer", Data: json.RawMessage(`{"from":1,"to":2,"count":2,"cause":"age"}`), Origin: &Origin{
			Agent: "barn", ID: "00000001-7", Ring: "alarms", Seq: 7, Time: time.Date(2026, 11, 21, 1, 2, 3, 123456789, time.UTC)}},
		{Name: "z", Kind: System, Cause: "7f3a9c21-00", Origin: &Origin{}, Data: json.RawMessage(`{}`)},
	}
}

func TestPayloadRoundTrip(t *testing.T) {
	for _, want := range fullEvents() {
		b, err := AppendPayload([]byte("head"), &want)
		if err != nil {
			t.Fatal(err)
		}
		var got Event
		if err := DecodePayload(b[4:], &got); err != nil {
			t.Fatalf("%s: %v", want.Name, err)
		}
		if want.Origin != nil {
			want.Origin.Time = want.Origin.Time.UTC()
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	}
}

func TestPayloadDamage(t *testing.T) {
	ev := fullEvents()[4]
	b, _ := AppendPayload(nil, &ev)
	for i := range b {
		for bit := range 8 {
			c := bytes.Clone(b)
			c[i] ^= 1 << bit
			if DecodePayload(c, &Event{}) == nil {
				t.Fatalf("byte %d bit %d: damage was not seen", i, bit)
			}
		}
		if DecodePayload(b[:i], &Event{}) == nil {
			t.Fatalf("cut at %d was not seen", i)
		}
	}
}

func TestPayloadOfMadeGap(t *testing.T) {
	if _, err := AppendPayload(nil, &Event{Kind: Gap, Hole: &Hole{From: 1, To: 2}}); err == nil {
		t.Fatal("a gap made on reading was encoded")
	}
}

func FuzzDecodePayload(f *testing.F) {
	for _, e := range fullEvents() {
		b, _ := AppendPayload(nil, &e)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Event
		if DecodePayload(b, &e) != nil {
			return
		}
		again, err := AppendPayload(nil, &e)
		if err != nil {
			t.Fatal(err)
		}
		var e2 Event
		if err := DecodePayload(again, &e2); err != nil || !reflect.DeepEqual(e, e2) {
			t.Fatalf("%v\n%+v\n%+v", err, e, e2)
		}
	})
}

func TestPack(t *testing.T) {
	var payloads [][]byte
	for range 10 {
		for _, e := range fullEvents() {
			b, _ := AppendPayload(nil, &e)
			payloads = append(payloads, b)
		}
	}
	payloads = append(payloads, nil, []byte("junk"), bytes.Repeat([]byte{1}, 3000))
	for i := range 200 { // more heads than a block remembers
		b, _ := AppendPayload(nil, &Event{Name: strings.Repeat("n", i), Kind: Sample, Data: json.RawMessage("1")})
		payloads = append(payloads, b, b)
	}
	packed := BlockCodec{}.Pack(nil, payloads)
	got, err := BlockCodec{}.Unpack(packed, len(payloads))
	if err != nil {
		t.Fatal(err)
	}
	for i := range payloads {
		if !bytes.Equal(got[i], payloads[i]) {
			t.Fatalf("payload %d came back as %q, was %q", i, got[i], payloads[i])
		}
	}
	size := 0
	for _, p := range payloads[:60] {
		size += len(p)
	}
	if n := len(BlockCodec{}.Pack(nil, payloads[:60])); n > size*8/10 {
		t.Errorf("60 payloads of %d bytes were packed into %d", size, n)
	}
	for i := range packed {
		if _, err := (BlockCodec{}).Unpack(packed[:i], len(payloads)); err == nil {
			t.Fatalf("a block cut at %d was unpacked", i)
		}
	}
}

func FuzzPack(f *testing.F) {
	e := fullEvents()[0]
	b, _ := AppendPayload(nil, &e)
	f.Add(append(append(bytes.Clone(b), 0xff), b...), byte(len(b)))
	f.Add([]byte{}, byte(0))
	f.Fuzz(func(t *testing.T, b []byte, cut byte) {
		var parts [][]byte
		for n := int(cut) + 1; len(b) > 0; {
			n = min(n, len(b))
			parts, b = append(parts, b[:n]), b[n:]
		}
		got, err := BlockCodec{}.Unpack(BlockCodec{}.Pack(nil, parts), len(parts))
		if err != nil || len(got) != len(parts) {
			t.Fatal(err, len(got))
		}
		for i := range parts {
			if !bytes.Equal(got[i], parts[i]) {
				t.Fatalf("part %d: %x, was %x", i, got[i], parts[i])
			}
		}
	})
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte{1, 1, 2, 1, 1, 1, 0, 2, 0}, 2)
	f.Fuzz(func(t *testing.T, b []byte, count int) {
		got, err := BlockCodec{}.Unpack(b, count)
		if err == nil && len(got) != count {
			t.Fatalf("%d payloads, not %d", len(got), count)
		}
	})
}

func BenchmarkPayload(b *testing.B) {
	e := Event{Name: "telemetry", Kind: Message, From: "client:bench", Data: json.RawMessage(`{"value":` + strings.Repeat("1", 180) + `}`)}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = AppendPayload(buf[:0], &e)
	}
}

func BenchmarkDecodePayload(b *testing.B) {
	e := Event{Name: "telemetry", Kind: Message, From: "client:bench", Data: json.RawMessage(`{"value":` + strings.Repeat("1", 180) + `}`)}
	buf, _ := AppendPayload(nil, &e)
	var got Event
	b.ReportAllocs()
	for b.Loop() {
		if err := DecodePayload(buf, &got); err != nil {
			b.Fatal(err)
		}
	}
}
