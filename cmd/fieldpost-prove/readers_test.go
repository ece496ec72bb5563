package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keptLine is an event of a writer as a reader keeps it.
func keptLine(agent string, n uint64, ring string, seq uint64, m mark) string {
	return fmt.Sprintf(`{"id":"0000000a-%d","n":%d,"ring":"%s","seq":%d,"agent":"%s","name":"%s","kind":"%s","boot":"b","mono":1,"data":%s}`,
		n, n, ring, seq, agent, markName(m), eventKind(ring), markData(m))
}

// TestReadersJudge: each broken promise is found in what a reader kept, and what
// is whole is not.
func TestReadersJudge(t *testing.T) {
	h := newHistory()
	var lines []string
	seqs := map[string]uint64{}
	for k := range 20 {
		m := mark{1, k}
		ring := markRing(m)
		seqs[ring]++
		n := numbered{ID: fmt.Sprintf("0000000a-%d", k+1), N: uint64(k + 1), Ring: ring, Seq: seqs[ring]}
		h.Acknowledged(n, m)
		lines = append(lines, keptLine("north", n.N, ring, n.Seq, m))
	}
	var last wireEvent
	if err := json.Unmarshal([]byte(lines[19]), &last); err != nil {
		t.Fatal(err)
	}
	gap := func(epoch string) string {
		return fmt.Sprintf(`{"id":"%s-%s-1..99","ring":"%s","seq":99,"agent":"north","name":"gap","kind":"gap","data":{"from":1,"to":99,"count":99,"cause":"evicted"}}`, epoch, last.Ring, last.Ring)
	}
	all := strings.Join(lines, "\n")
	for name, c := range map[string]struct {
		file              string
		lost, twice, more int
	}{
		"whole":                  {all, 0, 0, 0},
		"an array":               {"[" + strings.Join(lines, ",") + "]", 0, 0, 0},
		"one is missing":         {strings.Join(lines[:19], "\n"), 1, 0, 1},
		"a gap tells of it":      {strings.Join(append(lines[:19:19], gap("0000000a")), "\n"), 0, 0, 0},
		"of another epoch":       {strings.Join(append(lines[:19:19], gap("0000000b")), "\n"), 1, 0, 1},
		"twice the same":         {all + "\n" + lines[3], 0, 1, 0},
		"twice and not the same": {all + "\n" + strings.Replace(lines[3], `"mono":1`, `"mono":2`, 1), 0, 1, 1},
		"another content":        {strings.Replace(all, `"text":"`, `"text":"x`, 1), 0, 0, 1},
		"of another agent":       {strings.ReplaceAll(all, "north", "south"), 20, 0, 20},
	} {
		path := filepath.Join(t.TempDir(), "kept")
		if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := readKept(path, "north")
		if err != nil {
			t.Fatal(err)
		}
		acknowledged, lost := k.compare(h)
		if acknowledged != 20 || lost != c.lost || k.twice != c.twice || len(k.faults) != c.more {
			t.Errorf("%s: %d acknowledged, %d lost, %d twice, %q", name, acknowledged, lost, k.twice, k.faults)
		}
	}
}
