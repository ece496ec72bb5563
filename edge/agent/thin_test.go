package agent

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
)

// publish posts samples over the socket.
func publish(t *testing.T, socket string, from, n int) {
	t.Helper()
	var body bytes.Buffer
	for i := range n {
		fmt.Fprintf(&body, `{"name":"s%d","kind":"sample","data":{"value":%d}}`+"\n", (from+i)%3, from+i)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	resp, err := c.Post("http://agent/v1/events", "application/x-ndjson", &body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("posted %d samples: %s", n, resp.Status)
	}
}

// TestThinAgent: an agent whose samples thin keeps what each of them was in rows,
// and an uplink that comes later gets the gap that names them, and the rows.
func TestThinAgent(t *testing.T) {
	dir := testDir(t)
	b := edgetest.NewBoard("boot-1")
	board := b.Board()
	const rings = "store: {rings: {samples: {keep: 1000, when_full: thin}}}\n"
	run := func(text string, while func(socket string)) {
		cfg := load(t, dir, text)
		r := start(t, Options{Config: cfg, Board: &board, Simulate: true})
		while(cfg.API.Socket)
		r.end()
	}
	const posts, each = 8, 1000
	run(rings, func(socket string) {
		for i := range posts {
			publish(t, socket, i*each, each)
		}
		until(t, "thinned samples", func() bool {
			var all struct{ Rings []queue.RingInfo }
			if err := over(t, socket, "/v1/rings", &all); err != nil {
				t.Fatal(err)
			}
			for _, r := range all.Rings {
				if r.Name == edge.RingSamples && r.Thinned > 0 {
					return true
				}
			}
			return false
		})
	})
	copied := filepath.Join(dir, "copy.ndjson")
	run(rings+"uplinks: {copy: {file: "+copied+"}}\n", func(socket string) {
		until(t, "an empty backlog", func() bool {
			var all struct{ Uplinks []edge.UplinkStatus }
			if err := over(t, socket, "/v1/uplinks", &all); err != nil {
				t.Fatal(err)
			}
			return len(all.Uplinks) == 1 && all.Uplinks[0].Backlog == 0
		})
	})
	thinnedCopy(t, copied, posts*each)
}

// thinnedCopy checks what an uplink brought: all of the ledger, and each sample
// once, in a row or as it was.
func thinnedCopy(t *testing.T, path string, samples int) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	verify := edge.NewVerifier()
	n, gaps := 0, 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if err := verify.Add(lines.Bytes()); err != nil {
			t.Fatal(err)
		}
		var ev edge.Event
		if err := ev.UnmarshalJSON(lines.Bytes()); err != nil {
			t.Fatal(err)
		}
		switch {
		case ev.Hole != nil && ev.Hole.Thinned.Ring == "samples-1m":
			gaps++
		case ev.Ring == edge.RingSamples:
			n++
		case ev.Ring == "samples-1m":
			var k int
			if _, err := fmt.Sscanf(string(ev.Data[bytes.Index(ev.Data, []byte(`"n":`)):]), `"n":%d`, &k); err != nil {
				t.Fatalf("%s: %v", ev.Data, err)
			}
			n += k
		}
	}
	if rep := verify.Report(); !rep.Closed || gaps == 0 || n != samples {
		t.Errorf("%d samples of %d, %d gaps, %+v", n, samples, gaps, rep)
	}
}
