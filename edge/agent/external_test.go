package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
)

// send asks a running agent for something by its socket, and gives its answer.
func send(socket, method, path, body string) (status int, answer string, err error) {
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequest(method, "http://fieldpost"+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// answered is a command that somebody waits for.
type answered struct {
	status int
	body   string
	err    error
}

// command sends one and waits for its answer elsewhere.
func command(socket, path, body string) chan answered {
	done := make(chan answered, 1)
	go func() {
		var a answered
		a.status, a.body, a.err = send(socket, "POST", path, body)
		done <- a
	}()
	return done
}

// inBox polls a mailbox until it has an event of these words.
func inBox(t *testing.T, socket string, words ...string) {
	t.Helper()
	until(t, strings.Join(words, " "), func() bool {
		_, body, err := send(socket, "GET", "/v1/mailboxes/app", "")
		if err != nil {
			t.Fatal(err)
		}
		var box struct{ Events []json.RawMessage }
		if err := json.Unmarshal([]byte(body), &box); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
	next:
		for _, ev := range box.Events {
			for _, w := range words {
				if !strings.Contains(string(ev), w) {
					continue next
				}
			}
			return true
		}
		return false
	})
}

// TestExternalAgent: a client of the LAN plays a lamp, with a mailbox, through the
// whole agent; what it does not confirm is told, after a kill too.
func TestExternalAgent(t *testing.T) {
	dir := testDir(t)
	b := edgetest.NewBoard("boot-1")
	board := b.Board()
	cfg := load(t, dir, "devices: {lamp: {external: {answer: 10s}, room: Living Room}, slow: {external: {answer: 200ms}}}\nmailboxes: {app: {names: [lamp, slow]}}\n")
	socket := cfg.API.Socket
	r := start(t, Options{Config: cfg, Board: &board, Simulate: true})
	until(t, "the devices run", func() bool {
		var all devicesAnswer
		if err := over(t, socket, "/v1/devices", &all); err != nil {
			t.Fatal(err)
		}
		return all.named("lamp").Status == "ok" && all.named("slow").Status == "ok"
	})

	lit := command(socket, "/v1/devices/lamp/set", `{"id":"c1","value":40}`)
	inBox(t, socket, `"kind":"command"`, `"id":"c1"`, `"wanted":40`, `"within":10`)
	status, body, err := send(socket, "POST", "/v1/commands/c1", `{"value":38}`)
	if err != nil || status != 200 || !strings.Contains(body, `"done":true,"value":38`) {
		t.Errorf("confirm: %d %s %v", status, body, err)
	}
	if a := <-lit; a.err != nil || a.status != 200 || !strings.Contains(a.body, `"done":true,"value":38`) {
		t.Errorf("set: %+v", a)
	}
	inBox(t, socket, `"kind":"change"`, `"value":38`, `"from":"device:lamp"`, `"cause":`)

	if status, body, err := send(socket, "POST", "/v1/devices/slow/on", `{"id":"c2"}`); err != nil || status != 409 || !strings.Contains(body, "not confirmed within 200ms") {
		t.Errorf("a client that is silent: %d %s %v", status, body, err)
	}
	inBox(t, socket, `"id":"c2"`, `"done":false`, `"why":"refused: not confirmed within 200ms"`, `"cause":`)
	if status, body, err := send(socket, "POST", "/v1/commands/c2", ""); err != nil || status != 409 {
		t.Errorf("confirmed too late: %d %s %v", status, body, err)
	}
	if status, body, err := send(socket, "POST", "/v1/devices/slow/report", `{"value":"warm"}`); err != nil || status != 201 || !strings.Contains(body, `"ring":"events"`) {
		t.Errorf("report: %d %s %v", status, body, err)
	}
	var d edge.DeviceStatus
	if err := over(t, socket, "/v1/devices/slow", &d); err != nil || string(d.Value) != `"warm"` || d.Event == "" {
		t.Errorf("reported: %+v, %v", d, err)
	}

	waits := command(socket, "/v1/devices/lamp/off", `{"id":"c3"}`)
	inBox(t, socket, `"id":"c3"`, `"wanted":false`)
	r.end()
	if a := <-waits; a.err != nil || a.status != 409 || !strings.Contains(a.body, "before the agent stopped") {
		t.Errorf("while the agent stops: %+v", a)
	}
	told := 0
	for _, ev := range stored(t, cfg, b) {
		if ev.Kind == edge.Acted && strings.Contains(string(ev.Data), `"id":"c3"`) {
			told++
		}
	}
	if told != 2 {
		t.Error(fmt.Sprintf("%d events tell of c3", told), "want 2: asked, and not confirmed")
	}
}
