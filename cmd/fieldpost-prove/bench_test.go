package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestBestOfRoundsAndVerdict(t *testing.T) {
	for _, c := range []struct {
		name         string
		lower        bool
		ours, theirs []float64
		reach        float64
		byRatio      bool
		best         float64
		ok           bool
	}{
		{"more is better", false, []float64{90, 120, 100}, []float64{80, 100}, 1.2, true, 120, true},
		{"not by a hair", false, []float64{119}, []float64{100}, 1.2, true, 119, false},
		{"less is better", true, []float64{9, 7, 8}, []float64{17}, 7, false, 7, true},
		{"over the bound", true, []float64{9}, []float64{17}, 7, false, 9, false},
		{"less, by ratio", true, []float64{9}, []float64{10}, 1, true, 9, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := row{ours: &measure{lower: c.lower}, theirs: &measure{lower: c.lower}, reach: c.reach, byRatio: c.byRatio}
			for _, v := range c.ours {
				r.ours.take(v)
			}
			for _, v := range c.theirs {
				r.theirs.take(v)
			}
			if r.ours.value != c.best || r.ok() != c.ok {
				t.Errorf("best %v, reached %v; want %v, %v", r.ours.value, r.ok(), c.best, c.ok)
			}
		})
	}
}

func TestTableLeavesOutWhatWasNotMeasured(t *testing.T) {
	var tab table
	one := tab.add(&row{name: "one", ours: &measure{}, theirs: &measure{}, peer: "Redis", show: perSecond, reach: 2, byRatio: true, reachText: "2.0 x"})
	tab.add(&row{name: "two", ours: &measure{}, show: perSecond})
	one.ours.take(3000)
	one.theirs.take(1000)
	tab.note("a note")
	var out bytes.Buffer
	if err := tab.print(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want a head, one row and a note:\n%s", len(lines), &out)
	}
	if got := strings.Join(strings.Fields(lines[1]), " "); got != "one 3.0k/s Redis 1.0k/s 3.00 2.0 x reached" {
		t.Errorf("the row is %q", got)
	}
}

// TestSocketClientSpeaksToARealServer runs the driver's own WebSocket client, which
// encodes its frames beforehand, against a library's server.
func TestSocketClientSpeaksToARealServer(t *testing.T) {
	big := `{"op":"publish","data":"` + strings.Repeat("x", 70_000) + `"}`
	var got []string
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(1 << 20)
		ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
		defer cancel()
		for range 3 {
			_, m, err := c.Read(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			got = append(got, string(m))
			pad := strings.Repeat("y", len(m)%1000)
			if err := c.Write(ctx, websocket.MessageText, []byte(`{"op":"published","events":["`+pad+`"]}`)); err != nil {
				t.Error(err)
			}
		}
		_ = c.Write(ctx, websocket.MessageText, []byte(`{"op":"error","status":503}`))
	}))
	defer srv.Close()
	s, err := dialSocket(strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	small, middle := `{"name":"a"}`, `{"name":"`+strings.Repeat("m", 200)+`"}`
	for _, f := range [][]byte{publishFrame([]byte(small)), publishFrame([]byte(middle)), textFrame([]byte(big))} {
		if _, err := s.w.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.w.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := s.published(); err != nil {
			t.Fatalf("answer %d: %v", i+1, err)
		}
	}
	if err := s.published(); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("an error answer gave %v", err)
	}
	<-done
	want := []string{`{"op":"publish",` + small[1:], `{"op":"publish",` + middle[1:], big}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("message %d did not come through as it was sent", i+1)
		}
	}
}

func TestHTTPClientReadsAnswers(t *testing.T) {
	answers := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Authorization") != "Bearer "+agentKey || string(body) != "{}\n{}\n" {
			t.Errorf("got %q of %v, %v", body, r.Header, err)
		}
		if answers++; answers == 3 {
			http.Error(w, "no room", http.StatusServiceUnavailable)
			return
		}
		said := strings.Repeat("x", answers*1500)
		w.Header().Set("Content-Length", strconv.Itoa(len(said)))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, said)
	}))
	defer srv.Close()
	addr := strings.TrimPrefix(srv.URL, "http://")
	c, err := dialHTTP(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := postRequest(addr, "application/x-ndjson", []byte("{}\n{}\n"))
	for i := range 2 {
		if err := c.do(request); err != nil {
			t.Fatalf("request %d: %v", i+1, err)
		}
	}
	if err := c.do(request); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "no room") {
		t.Errorf("a refusal gave %v", err)
	}
}
