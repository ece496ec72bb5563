package main

import (
	"os"
	"strings"
	"testing"
)

// TestExportElsewhere: a card that is read on another machine names the agent that
// wrote it, not the reader.
func TestExportElsewhere(t *testing.T) {
	s := newSandbox(t, "")
	p := s.agent()
	s.mustPublish("a", 1)
	p.signal(sigTerm)
	p.exits(0, stopTime)
	if err := os.WriteFile(s.path("fieldpost.yaml"), []byte("agent: {id: desk}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := s.run("export", "--dir", s.path("data")).want(t, 0)
	if !strings.Contains(r.out, `"agent":"box"`) || strings.Contains(r.out, `"agent":"desk"`) {
		t.Error(r.out)
	}
}
