package uplink_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fieldpost/edge"
	"fieldpost/uplink"
	"fieldpost/uplink/uplinktest"
)

func TestSendersTable(t *testing.T) {
	for _, s := range uplink.Senders() {
		if s.Name == "" || s.Doc == "" || s.Config == nil || s.New == nil {
			t.Errorf("sender %q: a column is empty", s.Name)
		}
		if !strings.Contains(s.Example, s.Name+":") {
			t.Errorf("sender %s: its example does not show its key", s.Name)
		}
		if _, err := s.New(uplink.SenderEnv{}, struct{}{}); err == nil {
			t.Errorf("sender %s took a config that is not its own", s.Name)
		}
	}
}

func env() uplink.SenderEnv {
	return uplink.SenderEnv{Uplink: "cloud", Agent: "test", StoreID: "0123456789abcdef", Log: slog.New(slog.DiscardHandler)}
}

func TestFileConforms(t *testing.T) {
	uplinktest.Run(t, func(t *testing.T) uplinktest.Subject {
		path := filepath.Join(t.TempDir(), "events.ndjson")
		s, err := sender("file").New(env(), &uplink.FileConfig{Path: path, Rotate: 20_000, Keep: 100})
		if err != nil {
			t.Fatal(err)
		}
		return uplinktest.Subject{Sender: s, Received: func() []edge.Event { return readLines(t, path) }}
	})
}

func TestMQTTConforms(t *testing.T) {
	m := uplinktest.StartMosquitto(t, uplinktest.MosquittoOptions{})
	uplinktest.Run(t, func(t *testing.T) uplinktest.Subject {
		p, err := uplinktest.NewProxy(m.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		e := env()
		e.Agent = "agent " + t.Name() // topics of its own
		conf := sender("mqtt").Config().(*uplink.MQTTConfig)
		conf.URL, conf.MaxPacket = "mqtt://"+p.Addr(), 20_000
		s, err := sender("mqtt").New(e, conf)
		if err != nil {
			t.Fatal(err)
		}
		// Slashes are encoded in the agent's level.
		r := subscribe(t, m.Addr(), "fieldpost/"+strings.ReplaceAll(e.Agent, "/", "%2F")+"/#", true)
		return uplinktest.Subject{Sender: s, Received: r.events, Cut: p.Cut, TooLarge: 20_000}
	})
}

// readLines reads all files of a file sender, the oldest first.
func readLines(t *testing.T, path string) (evs []edge.Event) {
	t.Helper()
	for i := 200; i >= 0; i-- {
		name := path
		if i > 0 {
			name += "." + itoa(i)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for _, line := range bytes.Split(bytes.TrimSpace(b), []byte("\n")) {
			var some []edge.Event
			if len(line) > 0 && line[0] == '{' {
				line = append(append([]byte("["), line...), ']')
			}
			if len(line) > 0 {
				if err := json.Unmarshal(line, &some); err != nil {
					t.Errorf("line %q: %v", line, err)
				}
			}
			evs = append(evs, some...)
		}
	}
	return evs
}

func itoa(i int) string { b, _ := json.Marshal(i); return string(b) }
