package localapi

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"

	"fieldpost/edge"
)

// benchLine is a telemetry-like event of about 200 bytes.
const benchLine = `{"name":"greenhouse/bench/3","kind":"sample","data":{"value":21.4375,"unit":"°C","quality":"good","humidity":61.2,"battery":3.71,"rssi":-67,"uptime":8123456,"firmware":"1.4.2","note":"telemetry of the bench"}}`

// NDJSON posts of 1,000 lines, one after the other, over TCP.
func BenchmarkNDJSON(b *testing.B) {
	r := newRig(b, nil)
	body := bytes.Repeat([]byte(benchLine+"\n"), 1000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		req, _ := http.NewRequest("POST", "http://"+r.addr+"/v1/events", bytes.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+writeKey)
		req.Header.Set("Content-Type", "application/x-ndjson")
		res, err := r.client.Do(req)
		if err != nil || res.StatusCode != 201 {
			b.Fatal(err, res)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "events/s")
}

// One socket with up to 1,000 messages in flight.
func BenchmarkSocketPublish(b *testing.B) {
	r := newRig(b, nil)
	c, _, err := websocket.Dial(context.Background(), "ws://"+r.addr+"/v1/ws", &websocket.DialOptions{HTTPClient: r.client, HTTPHeader: http.Header{"Authorization": {"Bearer " + writeKey}}})
	if err != nil {
		b.Fatal(err)
	}
	defer c.CloseNow()
	room := make(chan struct{}, 1000)
	done := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range b.N {
			_, rd, err := c.Reader(context.Background())
			if err == nil {
				_, err = io.Copy(io.Discard, rd)
			}
			if err != nil {
				done <- err
				return
			}
			<-room
		}
		done <- nil
	}()
	for i := range b.N {
		room <- struct{}{}
		if err := c.Write(context.Background(), websocket.MessageText, fmt.Appendf(nil, `{"op":"publish","ref":%d,%s`, i, benchLine[1:])); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// The API's own share of a post of 1,000 lines: a pump that stores nothing.
func BenchmarkNDJSONAlone(b *testing.B) {
	s := &Server{Deps: Deps{Pump: numbering{}}, lim: defaultLimits()}
	p := s.publisher(principal{name: "b", role: roleWrite})
	body := bytes.Repeat([]byte(benchLine+"\n"), 1000)
	b.ReportAllocs()
	for b.Loop() {
		evs, err := p.lines(body)
		if err != nil {
			b.Fatal(err)
		}
		evs, _ = s.Pump.Post(context.Background(), evs, edge.Idempotency{})
		rec := httptest.NewRecorder()
		writeJSON(rec, 201, receiptAnswer(evs))
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "events/s")
}

type numbering struct{ pump }

func (numbering) Post(_ context.Context, evs []edge.Event, _ edge.Idempotency) ([]edge.Event, error) {
	for i := range evs {
		evs[i].Epoch, evs[i].N, evs[i].Seq, evs[i].Ring = 0x7f3a9c21, uint64(i+1), uint64(i+1), "samples"
	}
	return evs, nil
}

// Pages of 1,000 events.
func BenchmarkPages(b *testing.B) {
	r := newRig(b, nil)
	r.publish("x", 5000)
	b.ReportAllocs()
	for b.Loop() {
		a := r.do("GET", "/v1/events?limit=1000&after=3000", readKey, "")
		if a.status != 200 {
			b.Fatal(a.status)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "events/s")
}

// A stream that has 5,000 events to catch up with.
func BenchmarkStream(b *testing.B) {
	r := newRig(b, nil)
	r.publish("x", 5000)
	b.ReportAllocs()
	for b.Loop() {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(c, "GET /v1/stream?after=0 HTTP/1.1\r\nHost: board\r\nAuthorization: Bearer %s\r\n\r\n", readKey)
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			b.Fatal(err)
		}
		lines := bufio.NewScanner(c)
		for n := 0; n < 5000 && lines.Scan(); {
			if bytes.HasPrefix(lines.Bytes(), []byte("data: ")) {
				n++
			}
		}
		c.Close()
	}
	b.ReportMetric(float64(b.N)*5000/b.Elapsed().Seconds(), "events/s")
}
