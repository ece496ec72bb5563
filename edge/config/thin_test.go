package config

import (
	"strings"
	"testing"

	"fieldpost/edge"
)

// The rings of rows are bounded by the ring they come from, but for what the
// user says of them.
func TestThinBoundsTheRowsToo(t *testing.T) {
	cfg := mustLoad(t, one(t, `
store:
  rings:
    samples: {keep: 1M events, size: 64MB, age: 30d, when_full: thin}
    samples-1h: {size: 5MB}
    flow: {keep: 1000, when_full: thin}
    flow-1m: {when_full: evict}
    loose-1m: {keep: 5}
`))
	day := 24 * edge.Duration(3600e9)
	for name, want := range map[string]RingConfig{
		"samples":    {Keep: 1_000_000, Size: 64_000_000, Age: 30 * day, Sync: 1e9, WhenFull: Thin},
		"samples-1m": {Keep: 250_000, Size: 16_000_000, Age: 300 * day, WhenFull: Thin},
		"samples-1h": {Keep: 250_000, Size: 5_000_000, Age: 3000 * day, WhenFull: Evict},
		"flow":       {Keep: 1000, WhenFull: Thin},
		"flow-1m":    {Keep: 250, WhenFull: Evict},
		"flow-1h":    {Keep: 250, WhenFull: Evict},
		"loose-1m":   {Keep: 5, WhenFull: Evict},
	} {
		if got := cfg.Store.Rings[name]; got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for ring, want := range map[string]bool{"samples-1m": true, "samples-1h": true, "flow-1h": true, "samples": false, "loose-1m": false, "events-1m": false} {
		if cfg.Store.Reserved(ring) != want {
			t.Errorf("reserved %s: %v", ring, !want)
		}
	}
}

// The example of DESIGN.md section 4 loads as it is there.
func TestThinOfTheDesign(t *testing.T) {
	cfg := mustLoad(t, one(t, `
store:
  rings:
    alarms:  {keep: 100k events}
    events:  {keep: 1M events, size: 256MB}
    samples: {keep: 1M events, size: 256MB, age: 30d, sync: 1s, when_full: thin}   # sync: the most a power cut may take of what no API call waits for; 0 = at once
  headroom: 200MB
  wear: 100MB/day
`))
	if r := cfg.Store.Rings["samples-1m"]; r.WhenFull != Thin || r.Size != 64_000_000 || r.Keep != 250_000 {
		t.Errorf("samples-1m: %+v", r)
	}
}

// An uplink that is told to send samples, and not what they become, is warned of.
func TestThinWarnsOfUplinks(t *testing.T) {
	const store = "store: {rings: {samples: {when_full: thin}}}\nuplinks:\n  copy: {tube: /tmp/x"
	for text, want := range map[string]string{
		"}\n": "",
		", rings: [events, samples, samples-1m, samples-1h]}\n": "",
		", rings: [events, samples]}\n":                         "uplinks.copy.rings has samples and not samples-1m and samples-1h: what is summed up while there is no line is not sent",
	} {
		got := strings.Join(mustLoad(t, one(t, store+text)).Warnings, "\n")
		if _, warning, _ := strings.Cut(got, ": "); warning != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
