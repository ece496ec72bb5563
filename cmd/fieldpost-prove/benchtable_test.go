package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func taken(lower bool, values ...float64) *measure {
	m := &measure{lower: lower}
	for _, v := range values {
		m.take(v)
	}
	return m
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name  string
		ours  *measure
		peer  *measure
		ratio float64
		bound float64
		best  float64
		reach string
		said  string
	}{
		{"more is better", taken(false, 90, 120, 100), taken(false, 80, 100), 1.2, 0, 120, "1.2 x", "reached"},
		{"not by a hair", taken(false, 119), taken(false, 100), 1.2, 0, 119, "1.2 x", "NOT REACHED"},
		{"less is better", taken(true, 9, 7, 8), taken(true, 17), 0, 7, 7, "7", "reached"},
		{"over the bound", taken(true, 9), taken(true, 17), 0, 7, 9, "7", "NOT REACHED"},
		{"over the bound, within the ratio", taken(true, 9), taken(true, 10), 1, 7, 9, "7 or 1 x", "reached"},
		{"within the bound, not the ratio", taken(true, 6), taken(true, 5), 1, 7, 6, "7 or 1 x", "reached"},
		{"over both", taken(true, 9), taken(true, 8), 1, 7, 9, "7 or 1 x", "NOT REACHED"},
		{"nothing is set", taken(true, 9), taken(true, 8), 0, 0, 9, "", ""},
		{"the peer was not measured", taken(false, 9), taken(false), 2, 0, 9, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := row{ours: c.ours, show: events, bound: c.bound}
			reach, said := r.verdict(true, &peer{of: c.peer, reach: c.ratio})
			if c.ours.value != c.best || reach != c.reach || said != c.said {
				t.Errorf("best %v, %q %q; want %v, %q %q", c.ours.value, reach, said, c.best, c.reach, c.said)
			}
		})
	}
}

func TestWorstOfRounds(t *testing.T) {
	m := &measure{lower: true, worst: true}
	for _, v := range []float64{2, 5, 3} {
		m.take(v)
	}
	if m.value != 5 {
		t.Errorf("the slowest is %v", m.value)
	}
}

func TestTable(t *testing.T) {
	var tab table
	tab.add(&row{name: "one", ours: taken(false, 3000), show: perSecond,
		peers: []peer{{"Redis", taken(false, 1000), 2}, {"absent", &measure{}, 2}, {"NATS", taken(false, 2000), 3}}})
	tab.add(&row{name: "not measured", ours: &measure{}, show: perSecond})
	lost := taken(true, 5)
	lost.text = "5 of 9"
	tab.add(&row{name: "lost", ours: taken(true, 0), show: events, bound: lostNone, peers: []peer{{"peer", lost, 0}}})
	tab.add(&row{name: "alone", ours: taken(true, 8e6), show: megabytes, bound: 7e6})
	tab.note("a note")
	var out bytes.Buffer
	if err := tab.print(&out); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"| measure | fieldpost | peer | | ratio | to reach | |",
		"|--- |--- |--- |--- |--- |--- |--- |",
		"| one | 3.0k/s | Redis | 1.0k/s | 3.00 | 2 x | reached |",
		"| | | NATS | 2.0k/s | 1.50 | 3 x | NOT REACHED |",
		"| lost | 0 | peer | 5 of 9 | | 0 | reached |",
		"| alone | 8.0 MB | | | | 7.0 MB | NOT REACHED |",
		"",
		"- a note",
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i := range max(len(want), len(got)) {
		var w, g string
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = strings.Join(strings.Fields(got[i]), " ")
		}
		if w != g {
			t.Errorf("line %d is %q, want %q", i+1, g, w)
		}
	}
}

func TestParseCPU(t *testing.T) {
	const stat = "4711 (a ) b(c) S 1 2 3 4 5 6 7 8 9 10 250 31 0 0 20 0 9 0 100"
	if d, err := parseCPU(stat); err != nil || d.Seconds() != 2.81 {
		t.Errorf("%v, %v", d, err)
	}
	for _, bad := range []string{"", "1 (x) S 1 2", "1 x S 1 2 3 4 5 6 7 8 9 10 11 12 13 14", "1 (x) S 1 2 3 4 5 6 7 8 9 10 a b 0 0"} {
		if _, err := parseCPU(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestStopwatch(t *testing.T) {
	s := newStopwatch(2)
	s.begin(0)
	s.begin(1)
	for _, payload := range [][]byte{timedEvent(1), []byte("{}"), []byte(timedMark), timedEvent(7), timedEvent(1)} {
		s.got(payload)
	}
	select {
	case <-s.done:
		t.Fatal("one event is missing, and it is done")
	default:
	}
	s.got(timedEvent(0))
	<-s.done
	if a, b := s.percentile(0), s.percentile(0.99); a < 0 || a > b || len(s.took) != 2 {
		t.Errorf("%v, %v of %v", a, b, s.took)
	}
	s.took = []time.Duration{9, 1, 5, 3}
	if a, b := s.percentile(0.5), s.percentile(0.99); a != 5 || b != 9 {
		t.Errorf("the percentiles are %d and %d", a, b)
	}
	if n, ok := timedNumber(timedEvent(123)); !ok || n != 123 {
		t.Error(n, ok)
	}
}

func TestChooseParts(t *testing.T) {
	all, err := chooseParts("")
	if err != nil || len(all) != len(parts()) {
		t.Error(all, err)
	}
	two, err := chooseParts("flash,ingest")
	if err != nil || len(two) != 2 || two[0].name != "flash" {
		t.Error(two, err)
	}
	if _, err := chooseParts("flash,nothing"); err == nil {
		t.Error("an unknown part was taken")
	}
}

func TestNATSConfig(t *testing.T) {
	n, err := newNATS("nats-server", natsOptions{dir: t.TempDir(), domain: "edge", always: true, leafOf: "127.0.0.1:7"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sync_interval: always", "domain: edge", "nats-leaf://127.0.0.1:7", "listen: " + n.Addr} {
		if !strings.Contains(n.config(), want) {
			t.Errorf("no %q in\n%s", want, n.config())
		}
	}
	n.opt.always, n.opt.leafOf = false, ""
	if c := n.config(); strings.Contains(c, "always") || strings.Contains(c, "leaf") {
		t.Errorf("the defaults are not\n%s", c)
	}
}

// TestListenerHears runs the driver's MQTT subscriber against a real broker.
func TestListenerHears(t *testing.T) {
	broker, err := startBroker(t.Context(), t.TempDir(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = broker.Kill() }()
	s := newStopwatch(3)
	l, err := listenMQTT(broker.Addr, "listener", "a/#", s.got)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := dialMQTT(broker.Addr, "publisher")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	acked := 0
	packets := [][]byte{publishPacket(1, "a/0", timedEvent(0)), publishPacket(2, "a/1", timedEvent(1)), publishPacket(3, "a/2", timedEvent(2))}
	for _, p := range packets {
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
		if id, err := c.puback(); err != nil || int(id) != acked+1 {
			t.Fatal(id, err)
		}
		acked++
	}
	select {
	case <-s.done:
	case <-t.Context().Done():
	}
	if len(s.took) != 3 {
		t.Errorf("%d of 3 came", len(s.took))
	}
}
