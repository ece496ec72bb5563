package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestReset: it says what would go, deletes it when told to, and leaves a folder in
// which an agent begins anew.
func TestReset(t *testing.T) {
	s := newSandbox(t, "")
	s.run("reset", "--yes").want(t, 0, "there is nothing")
	p := s.agent()
	s.mustPublish("a", 1)
	s.run("keys", "create", "--name", "phone", "--role", "read").want(t, 0)
	p.signal(sigTerm)
	p.exits(0, stopTime)
	id := s.storeID(s.path("data"))
	if err := os.MkdirAll(s.path("data/config.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("data/config.d/panel.yaml", "{}\n")
	s.run("reset").want(t, 2, "events", "--yes", "files")
	s.run("reset", "--keep-config").want(t, 2)
	if len(s.stored(s.path("data"))) == 0 {
		t.Fatal("it deleted without --yes")
	}
	s.write("data/state.db.new", "rows that a power cut left")
	asked := decode[reset](t, s.run("reset", "-o", "json").want(t, 2))
	if asked.Deleted || asked.Files < 5 || len(asked.Rings) == 0 || asked.Rings[0].Events == 0 {
		t.Errorf("%+v", asked)
	}
	s.run("reset", "--yes", "--keep-config").want(t, 0, "deleted")
	if left := s.entries("data"); fmt.Sprint(left) != "[config.d lock]" {
		t.Errorf("left: %v", left)
	}
	if r := decode[reset](t, s.run("reset", "--yes", "-o", "json").want(t, 0)); !r.Deleted || r.Files != 1 {
		t.Errorf("%+v", r)
	}
	if left := s.entries("data"); fmt.Sprint(left) != "[lock]" {
		t.Errorf("left: %v", left)
	}
	if r := s.run("reset").want(t, 0, "there is nothing"); r.err != "" {
		t.Errorf("an empty store: %s", r.err)
	}
	p = s.agent()
	if r := s.run("keys", "list").want(t, 0); strings.Contains(r.out, "phone") {
		t.Error("a key outlived it")
	}
	if now := s.storeID(s.path("data")); now == id {
		t.Error("the store has the old id")
	}
	s.run("events", "--name", "epoch", "-o", "json").want(t, 0, `"why":"new"`)
	p.signal(sigTerm)
	p.exits(0, stopTime)
}

// TestResetOfNoStore: a folder that was never a store's keeps what it has, though the
// names are those of one.
func TestResetOfNoStore(t *testing.T) {
	s := newSandbox(t, "")
	if err := os.MkdirAll(s.path("etc/config.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("etc/config.d/10-pump.yaml", "{}\n")
	s.run("reset", "--yes", "--dir", s.path("etc")).want(t, 1, "no folder of a store")
	if left := s.entries("etc/config.d"); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	if left := s.entries("etc"); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// TestResetHalfWay: whatever a stop in the middle of a reset left, an agent starts
// on, and a second reset takes.
func TestResetHalfWay(t *testing.T) {
	for at := range resetNames {
		s := newSandbox(t, "")
		p := s.agent()
		s.mustPublish("a", 1)
		p.signal(sigTerm)
		p.exits(0, stopTime)
		for _, name := range resetNames[:at+1] {
			if err := os.RemoveAll(s.path("data/" + name)); err != nil {
				t.Fatal(err)
			}
		}
		p = s.agent()
		s.mustPublish("b", 2)
		p.signal(sigTerm)
		p.exits(0, stopTime)
		s.run("reset", "--yes").want(t, 0)
		if left := s.entries("data"); fmt.Sprint(left) != "[lock]" {
			t.Errorf("left: %v", left)
		}
	}
}
