package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
)

// startDemo starts the demo, and gives its URL and the key of its page.
func startDemo(t *testing.T, s *sandbox, args ...string) (p *process, url, key string) {
	t.Helper()
	p = s.start(append([]string{"demo"}, args...)...)
	look := regexp.MustCompile(`look +(http://127\.0\.0\.1:\d+/)#key=(\S+)`)
	s.until("the demo says where to look", func() bool { return look.MatchString(p.text()) })
	m := look.FindStringSubmatch(p.text())
	return p, m[1], m[2]
}

// TestDemo: events reach the stand-in broker; while the line is cut the backlog
// grows, and then it drains; nothing is left behind.
func TestDemo(t *testing.T) {
	s := newSandbox(t, "")
	before, err := filepath.Glob("/tmp/fieldpost-demo-*")
	if err != nil {
		t.Fatal(err)
	}
	p, url, key := startDemo(t, s, "--outage", "3s", "--for", "60s")
	if line := p.Args[0] + " --socket " + s.socket + " events -f"; !strings.Contains(p.text(), "follow  "+line) {
		t.Errorf("it does not say %s: %s", line, p.text())
	}
	req, err := http.NewRequest(http.MethodGet, url+"v1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the page's key gives %s", resp.Status)
	}
	for _, want := range []string{`broker: [1-9]\d* events +line: up`, `the line to the broker is cut`, `line: down +backlog: [1-9]`, `the line is back\n(.*\n)*.*line: up +backlog: 0`} {
		re := regexp.MustCompile(want)
		s.until(want, func() bool { return re.MatchString(p.text()) })
	}
	s.run("devices").want(t, 0, "door", "pump", "flow", "air")
	var list struct{ Uplinks []edge.UplinkStatus }
	cut := func(on bool) {
		t.Helper()
		if err := s.call(http.MethodPost, "/v1/uplinks/broker/cut", map[string]bool{"cut": on}, nil); err != nil {
			t.Fatal(err)
		}
		s.until("the API's cut shows", func() bool {
			return s.call(http.MethodGet, "/v1/uplinks", nil, &list) == nil && (list.Uplinks[0].State == "up") != on
		})
	}
	cut(true)
	cut(false)
	p.signal(sigInt)
	p.exits(0, stopTime)
	if !strings.Contains(p.text(), "the demo is over") {
		t.Errorf("it ended with %s", p.text())
	}
	after, err := filepath.Glob("/tmp/fieldpost-demo-*")
	if err != nil {
		t.Fatal(err)
	}
	if len(after) > len(before) {
		t.Errorf("it left a folder behind: %v", after)
	}
}

// TestDemoEnds: it ends by itself, also where its usual port is taken.
func TestDemoEnds(t *testing.T) {
	a, b := newSandbox(t, ""), newSandbox(t, "")
	p, urlA, _ := startDemo(t, a, "--for", "3s")
	q, urlB, _ := startDemo(t, b, "--for", "1s")
	if urlA == urlB {
		t.Errorf("two demos at %s", urlA)
	}
	q.exits(0, stopTime)
	p.exits(0, stopTime)
}

// TestDemoFolder: a deep TMPDIR does not make the socket's path too long.
func TestDemoFolder(t *testing.T) {
	deep := t.TempDir() + "/" + strings.Repeat("deep/", 20)
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", deep)
	dir, err := demoFolder()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if len(dir) > 80 {
		t.Errorf("%d bytes: %s", len(dir), dir)
	}
}

// TestDemoLine: a cut ends what is open and what begins, until it is joined.
func TestDemoLine(t *testing.T) {
	b, err := newDemoBroker()
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	l, err := newDemoLine(b.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	open := dialLine(t, l)
	l.cut(true)
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("a cut line carried on")
	}
	if _, err := dialLine(t, l).Read(make([]byte, 1)); err == nil {
		t.Error("a cut line began to carry")
	}
	l.cut(false)
	joined := dialLine(t, l)
	if _, err := joined.Write([]byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if err := joined.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := joined.Read(make([]byte, 1)); err != nil {
		t.Errorf("the joined line does not carry: %v", err)
	}
}

func dialLine(t *testing.T, l *demoLine) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
