package main

import (
	"path/filepath"
	"testing"
	"time"
)

func TestFreeze(t *testing.T) {
	p, err := startProc(filepath.Join(t.TempDir(), "log"), "sh", "-c", "while :; do :; done")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Kill() }()
	if err := p.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := p.CPU()
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if now, err := p.CPU(); err != nil || now != before {
			t.Fatalf("it used %v more, %v", now-before, err)
		}
	}
	if err := p.Term(10 * time.Millisecond); err == nil {
		t.Error("what is frozen heard a signal")
	}
}
