package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// readerEvent is an event as a reader kept it.
type readerEvent struct {
	Agent string
	wireEvent
}

// keptFile is what one reader has of one agent.
type keptFile struct {
	events map[string]*wireEvent
	gaps   map[string][]wireGap // by epoch and ring
	twice  int
	faults []string
}

// readKept reads a reader's file: an event or an array of them a line.
func readKept(path, agent string) (*keptFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	k := &keptFile{events: map[string]*wireEvent{}, gaps: map[string][]wireGap{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		list := make([]readerEvent, 1)
		if line := lines.Bytes(); len(line) > 0 && line[0] == '[' {
			err = json.Unmarshal(line, &list)
		} else {
			err = json.Unmarshal(line, &list[0])
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w: %.200s", path, err, lines.Bytes())
		}
		for i := range list {
			if list[i].Agent == agent {
				k.add(&list[i].wireEvent)
			}
		}
	}
	return k, lines.Err()
}

// add takes one event. Its id begins with its epoch.
func (k *keptFile) add(e *wireEvent) {
	if e.Kind == "gap" {
		var g wireGap
		if err := json.Unmarshal(e.Data, &g); err != nil || g.From == 0 || g.To < g.From {
			k.faults = append(k.faults, fmt.Sprintf("gap %s has data %.80s", e.ID, e.Data))
		}
		at := fmt.Sprintf("%.8s %s", e.ID, e.Ring)
		k.gaps[at] = append(k.gaps[at], g)
		return
	}
	old, again := k.events[e.ID]
	if !again {
		k.events[e.ID] = e
		return
	}
	k.twice++
	if old.Ring != e.Ring || old.Seq != e.Seq || old.Name != e.Name || string(old.Data) != string(e.Data) || old.Boot != e.Boot || old.Mono != e.Mono {
		k.faults = append(k.faults, fmt.Sprintf("id %s was received with two contents: %s %d %.80s and %s %d %.80s", e.ID, old.Ring, old.Seq, old.Data, e.Ring, e.Seq, e.Data))
	}
}

// told reports whether a gap of the event's epoch tells of it.
func (k *keptFile) told(id, ring string, seq uint64) bool {
	return inGap(k.gaps[fmt.Sprintf("%.8s %s", id, ring)], seq)
}

// compare holds a file against what clients were told is stored.
func (k *keptFile) compare(h *history) (acknowledged, lost int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, want := range h.events {
		if !want.load {
			continue
		}
		acknowledged++
		got := k.events[id]
		switch {
		case got == nil && k.told(id, want.ring, want.seq):
		case got == nil:
			lost++
			k.faults = append(k.faults, fmt.Sprintf("event %s (%s %d, %v) was acknowledged, and is neither received nor in a gap", id, want.ring, want.seq, want.mark))
		case got.Ring != want.ring || got.Seq != want.seq:
			k.faults = append(k.faults, fmt.Sprintf("event %s was acknowledged as %s %d and received as %s %d", id, want.ring, want.seq, got.Ring, got.Seq))
		default:
			if why := differs(got, want.mark); why != "" {
				k.faults = append(k.faults, fmt.Sprintf("event %s is not what was sent: %s", id, why))
			}
		}
	}
	return acknowledged, lost
}

// judge holds a reader's file against what the site acknowledged.
func (s *site) judge(path string, res *result) error {
	k, err := readKept(path, s.name)
	if err != nil {
		return err
	}
	acknowledged, lost := k.compare(s.history)
	res.acknowledged += acknowledged
	res.lost += lost
	res.duplicated += k.twice
	if len(k.gaps) == 0 {
		k.faults = append(k.faults, "no gap was told, and more was written than is kept: the run proves too little")
	}
	for _, f := range k.faults {
		res.failed("run %d (seed %d), %s: %s", s.run.number, s.run.p.seed, s.name, f)
	}
	for _, f := range s.history.faults {
		res.failed("run %d (seed %d), %s: %s", s.run.number, s.run.p.seed, s.name, f)
	}
	s.history.faults = nil
	return nil
}
