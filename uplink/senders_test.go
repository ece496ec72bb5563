package uplink_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// TestSenderConfigsValidate: what New would refuse, a check of the config finds
// first, at its key.
func TestSenderConfigsValidate(t *testing.T) {
	mqtt := func(change func(*uplink.MQTTConfig)) any {
		c := &uplink.MQTTConfig{URL: "mqtt://broker", KeepAlive: edge.Duration(time.Minute)}
		change(c)
		return c
	}
	var secret edge.Secret
	if err := secret.UnmarshalText([]byte("hush")); err != nil {
		t.Fatal(err)
	}
	for key, conf := range map[string]any{
		"":           mqtt(func(*uplink.MQTTConfig) {}),
		"mqtt":       mqtt(func(c *uplink.MQTTConfig) { c.URL = "mqqt://broker" }),
		"keepalive":  mqtt(func(c *uplink.MQTTConfig) { c.KeepAlive = 1 }),
		"max_packet": mqtt(func(c *uplink.MQTTConfig) { c.MaxPacket = 1 }),
		"password":   mqtt(func(c *uplink.MQTTConfig) { c.Password = secret }),
		"file":       &uplink.FileConfig{Path: "here", Keep: 1},
		"rotate":     &uplink.FileConfig{Path: "/there", Rotate: 1, Keep: 1},
		"keep":       &uplink.FileConfig{Path: "/there", Rotate: 1 << 20},
	} {
		err := conf.(interface{ Validate() error }).Validate()
		var at interface{ Key() string }
		if errors.As(err, &at) != (key != "") || err != nil && at.Key() != key {
			t.Errorf("%s: %v", key, err)
		}
	}
	for _, url := range []string{"mqtt://broker:99999", "mqtt://broker:0", "broker", "mqtt://me@broker", "mqtt://broker/x"} {
		if (uplink.MQTTConfig{URL: url}).Validate() == nil {
			t.Errorf("%q is fine", url)
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
