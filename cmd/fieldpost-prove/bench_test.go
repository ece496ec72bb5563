package main

import (
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
