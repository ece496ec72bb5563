package gpio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	"fieldpost/gpio/gpiotest"
)

// wire is a device that a test plays: what it writes comes out of the port.
func wire(b *gpiotest.Bench, port string) (device func() net.Conn) {
	opened := make(chan net.Conn, 10)
	b.Peers.Set(port, func(c net.Conn) {
		here, there := net.Pipe()
		opened <- there
		go func() {
			_, _ = io.Copy(here, c)
			here.Close()
		}()
		_, _ = io.Copy(c, here)
	})
	return func() net.Conn { return <-opened }
}

// TestSerialLines: what becomes of lines.
func TestSerialLines(t *testing.T) {
	long := strings.Repeat("x", 4097)
	for _, c := range []struct{ name, options, sent, want string }{
		{"text", "", "hello\r\nworld\n\n\rbye", `change {"value":"hello"}` + "\n" + `change {"value":"world"}`},
		{"not UTF-8", "", "a\xffb\x00c\n", `change {"value":"a�b\u0000c"}`},
		{"longest", "", long[1:] + "\nok\n", `change {"value":"` + long[1:] + `"}` + "\n" + `change {"value":"ok"}`},
		{"too long", "", long + "\n" + long + long + "\rok\n", `change {"value":"ok"}` + "\n" + `loss {"count":2,"cause":"too long"}`},
		{"number", `, match: '(\d+\.\d+)', unit: V`, "ch1 3.30 V\nnothing\nch1 x.30\n", `sample {"value":3.3,"unit":"V"}`},
		{"named", `, match: '(\w+) (?P<value>\S+) (?P<n>\d+)'`, "a -1e1 7\nb on 8\n", `sample {"value":-10,"n":7}` + "\n" + `change {"value":"on","n":8}`},
		{"whole", `, match: '[0-9]+'`, "weight 12 g\n", `sample {"value":12}`},
		{"accept", `, match: '.*', accept: {max: 10}`, "9\n11\nNaN\n", `sample {"value":9}` + "\n" + `sample {"value":null,"quality":"implausible","reading":"11"}`},
		{"report", `, match: '.*', report: {delta: 1}`, "5\n5.5\n6\n", `sample {"value":5}` + "\n" + `sample {"value":6}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := gpiotest.NewBench(t)
				device := wire(b, "/dev/ttyUSB9")
				stop := gpiotest.Start(t, b.Source(t, spec(t, "serial", "m: {serial: /dev/ttyUSB9"+c.options+"}")))
				defer stop()
				d := device()
				defer d.Close()
				gpiotest.Pass(time.Second)
				if _, err := io.WriteString(d, c.sent); err != nil {
					t.Error(err)
				}
				gpiotest.Pass(2 * time.Second)
				if got := strings.TrimSpace(b.Pump.Lines("m")); got != c.want {
					t.Errorf("got\n%.300s\nwant\n%.300s", got, c.want)
				}
			})
		})
	}
}

// TestSerialFirstLine: a line that began before the port was open is no line.
func TestSerialFirstLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		device := wire(b, "/dev/ttyUSB9")
		stop := gpiotest.Start(t, b.Source(t, spec(t, "serial", "m: {serial: /dev/ttyUSB9, match: '.*'}")))
		defer stop()
		d := device()
		defer d.Close()
		gpiotest.Pass(10 * time.Millisecond)
		fmt.Fprint(d, "3.5\n")
		fmt.Fprint(d, "23.5\n")
		synctest.Wait()
		if got := b.Pump.Lines("m"); got != `sample {"value":23.5}`+"\n" {
			t.Error(got)
		}
	})
}

// TestSerialFlood: a device that sends 1 MB/s costs 100 lines or 16 kB a second, and
// every line is told or counted.
func TestSerialFlood(t *testing.T) {
	for _, size := range []int{10, 1000} {
		synctest.Test(t, func(t *testing.T) {
			b := gpiotest.NewBench(t)
			device := wire(b, "/dev/ttyUSB9")
			stop := gpiotest.Start(t, b.Source(t, spec(t, "serial", "m: {serial: /dev/ttyUSB9}")))
			defer stop()
			d := device()
			defer d.Close()
			gpiotest.Pass(time.Second)
			line, sent := strings.Repeat("y", size-1)+"\n", 0
			for range 100 { // 10 seconds of them
				for range 100_000 / size / 10 {
					if _, err := io.WriteString(d, line); err != nil {
						t.Fatal(err)
					}
					sent++
				}
				<-time.After(100 * time.Millisecond)
			}
			gpiotest.Pass(2 * time.Second)
			told, lost, losses := 0, 0, 0
			for _, ev := range b.Pump.Events("m") {
				if ev.Kind != edge.Loss {
					told++
					continue
				}
				var data struct{ Count int }
				if err := json.Unmarshal(ev.Data, &data); err != nil {
					t.Error(err)
				}
				losses, lost = losses+1, lost+data.Count
			}
			most := 11 * min(100, 16384/size)
			if told+lost != sent || told > most || told < most/2 || losses > 12 {
				t.Errorf("lines of %d: %d sent, %d told, %d lost in %d events", size, sent, told, lost, losses)
			}
		})
	}
}

// TestSerialComesBack: a port that is unplugged is absent, and found again; a device
// that says nothing for idle has failed.
func TestSerialComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		device := wire(b, "/dev/ttyUSB9")
		s := b.Source(t, spec(t, "serial", "m: {serial: /dev/ttyUSB9, idle: 10s}"))
		stop := gpiotest.Start(t, s)
		defer stop()
		status := func(want string) {
			t.Helper()
			synctest.Wait()
			if d, _ := s.Device("m"); d.Status != want {
				t.Errorf("it is %s (%s), not %s", d.Status, d.Error, want)
			}
		}
		d := device()
		status("ok")
		b.Peers.Set("/dev/ttyUSB9", nil)
		d.Close()
		status("absent")
		gpiotest.Pass(5 * time.Minute)
		status("absent")
		device = wire(b, "/dev/ttyUSB9")
		d = device()
		status("ok")
		<-time.After(9 * time.Second)
		fmt.Fprint(d, "a\n")
		<-time.After(9 * time.Second)
		status("ok")
		<-time.After(1100 * time.Millisecond)
		status("failed")
		if d, _ := s.Device("m"); d.Error != "read /dev/ttyUSB9: no line came for 10s" {
			t.Error(d.Error)
		}
		device().Close()
	})
}

// TestSerialSend: a line is written whole or refused.
func TestSerialSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		device := wire(b, "/dev/ttyUSB9")
		s := b.Source(t, spec(t, "serial", "m: {serial: /dev/ttyUSB9, send: crlf}"))
		send := func(value string) error {
			_, err := s.Command(context.Background(), edge.Command{Device: "m", Verb: "send", Value: json.RawMessage(value)})
			return err
		}
		if err := send(`"TARE"`); !errors.Is(err, edge.ErrAbsent) {
			t.Error(err)
		}
		stop := gpiotest.Start(t, s)
		d := device()
		synctest.Wait()
		got := make(chan string, 1)
		go func() {
			buf := make([]byte, 100)
			n, _ := io.ReadAtLeast(d, buf, 6)
			got <- string(buf[:n])
		}()
		if err := send(`"TARE"`); err != nil {
			t.Error(err)
		}
		if line := <-got; line != "TARE\r\n" {
			t.Errorf("%q", line)
		}
		for _, bad := range []string{`1`, `null`, `"a\nb"`, "\"\xff\"", `"` + strings.Repeat("x", 1025) + `"`} {
			if err := send(bad); !errors.Is(err, edge.ErrBadValue) {
				t.Errorf("%.20s: %v", bad, err)
			}
		}
		// Nobody takes it: the first is on its way in the test's own pipe.
		_ = send(`"a"`)
		began := time.Now()
		if err := send(`"b"`); err == nil || time.Since(began) > 5500*time.Millisecond { // 5 s of that are the wait for the store
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if took := stop(); took > time.Second {
			t.Error(took)
		}
		d.Close()
		if !strings.Contains(b.Pump.Lines("m"), `"verb":"send","done":true,"asked":"TARE"`) {
			t.Error(b.Pump.Lines("m"))
		}
	})
}

// TestSerialOptions: what can't work is refused.
func TestSerialOptions(t *testing.T) {
	b := gpiotest.NewBench(t)
	for options, want := range map[string]string{
		"serial: ttyUSB0":                                    "it is the path of a port",
		"serial: /dev/x, baud: 1":                            "baud is 1: it is 50 to 4000000",
		"serial: /dev/x, data_bits: 9":                       "data_bits is 9",
		"serial: /dev/x, stop_bits: 0":                       "stop_bits is 0",
		"serial: /dev/x, match: '('":                         "match",
		"serial: /dev/x, match: '(?P<unit>.)'":               "an event has that already",
		"serial: /dev/x, match: '(?P<a>.)(?P<a>.)'":          "match has two groups a",
		"serial: /dev/x, match: '(?P<value>a)|(?P<value>b)'": "match has two groups value",
		"serial: /dev/x, accept: {min: 2, max: 1}":           "accept: min 2 is over max 1",
	} {
		_, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "serial", "m: {"+options+"}")}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", options, err)
		}
	}
}
