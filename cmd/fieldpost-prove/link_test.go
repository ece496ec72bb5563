package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// testLine is a broker behind a recorded link.
func testLine(t *testing.T) (*Broker, *Link, *Recorder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	b, err := startBroker(ctx, t.TempDir(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRecorder(filepath.Join(t.TempDir(), "line.ndjson"), nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLink(b.Addr, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		_ = r.Close()
		_ = b.Kill()
		goleak.VerifyNone(t, goleak.IgnoreCurrent())
	})
	return b, l, r
}

func TestRecorderKeepsWhatWasAcknowledged(t *testing.T) {
	_, l, r := testLine(t)
	m, err := dialMQTT(l.Addr, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const count = 5000
	topic := func(i int) string {
		return [...]string{"fieldpost/prove/events/lab/x", "fieldpost/prove/state/x", "fieldpost/prove/batch/lab"}[i%3]
	}
	payload := func(i int) []byte { return fmt.Appendf(nil, `{"i":%d,"pad":%q}`, i, bytes.Repeat([]byte("p"), i%700)) }
	if err := m.publishAll(count, 200, topic, payload); err != nil {
		t.Fatal(err)
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(r.Path)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	for i := range count {
		if i%3 != 1 { // a state is not on record
			want.Write(payload(i))
			want.WriteByte('\n')
		}
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("the record has %d bytes in %d lines, want %d bytes in %d", len(got), bytes.Count(got, []byte("\n")), want.Len(), bytes.Count(want.Bytes(), []byte("\n")))
	}
	if r.Waiting() != 0 {
		t.Errorf("%d messages are still in flight, want none", r.Waiting())
	}
}

func TestFrozenLinkHoldsBackAndThaws(t *testing.T) {
	_, l, r := testLine(t)
	m, err := dialMQTT(l.Addr, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	l.Freeze()
	if err := m.publish(1, "fieldpost/prove/events/lab/x", []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if err := m.w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := m.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if id, err := m.puback(); err == nil {
		t.Fatalf("PUBACK %d came through a frozen link", id)
	}
	if r.Total() != 0 {
		t.Fatalf("%d messages are on record through a frozen link", r.Total())
	}
	l.Thaw()
	if err := m.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.puback(); err != nil {
		t.Fatalf("no PUBACK after the thaw: %v", err)
	}
	l.Down()
	if _, err := m.puback(); err == nil {
		t.Fatal("the connection outlived a link that is down")
	}
	if _, err := dialMQTT(l.Addr, "test"); err == nil {
		t.Fatal("a dial got through a link that is down")
	}
	l.Up()
	again, err := dialMQTT(l.Addr, "test")
	if err != nil {
		t.Fatalf("dial after the link came up: %v", err)
	}
	again.Close()
}

func TestSplitterTakesAnyCuts(t *testing.T) {
	var stream []byte
	var want []int
	for _, n := range []int{0, 1, 2, 127, 128, 129, 16383, 16384, 70000} {
		stream = append(stream, mqttPublish)
		stream = appendLength(stream, n)
		stream = append(stream, bytes.Repeat([]byte{byte(n)}, n)...)
		want = append(want, n)
	}
	for _, piece := range []int{1, 2, 3, 7, 1000, len(stream)} {
		var s splitter
		var got []int
		for b := stream; len(b) > 0; {
			k := min(piece, len(b))
			if err := s.feed(b[:k], func(first byte, body []byte) {
				if first != mqttPublish || bytes.Count(body, []byte{byte(len(body))}) != len(body) {
					t.Errorf("pieces of %d: a packet of %d bytes came out wrong", piece, len(body))
				}
				got = append(got, len(body))
			}); err != nil {
				t.Fatal(err)
			}
			b = b[k:]
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("pieces of %d: packets %v, want %v", piece, got, want)
		}
	}
}

func FuzzSplitter(f *testing.F) {
	f.Add([]byte{mqttPublish, 3, 0, 1, 'a'}, 2)
	f.Add([]byte{mqttPublish, 0xff, 0xff, 0xff, 0xff, 1}, 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		read := func(pieces ...[]byte) (out string) {
			var s splitter
			for _, p := range pieces {
				if err := s.feed(p, func(first byte, body []byte) {
					topic, payload, id, err := parsePublish(first, body)
					out += fmt.Sprintf("%x %q %q %d %v\n", first, topic, payload, id, err)
				}); err != nil {
					return out + err.Error()
				}
			}
			return out
		}
		cut = max(0, min(cut, len(b)))
		if whole, parts := read(b), read(b[:cut], b[cut:]); whole != parts {
			t.Errorf("cut at %d: %s, whole: %s", cut, parts, whole)
		}
	})
}
