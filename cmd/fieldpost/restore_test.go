package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"fieldpost/edge/backup"
)

// TestRestoreInterrupted: a signal while it reads leaves nothing behind.
func TestRestoreInterrupted(t *testing.T) {
	s := newSandbox(t, "")
	s.agent()
	for range 40 {
		s.mustPublish("a", randomText(30_000))
	}
	s.run("backup", "b").want(t, 0)
	file, err := os.ReadFile(s.path("b"))
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd := s.command("restore", "-", "--dir", s.path("copy"))
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	half := len(file) / 2
	if _, err := in.Write(file[:half]); err != nil {
		t.Fatal(err)
	}
	s.until("it unpacks", func() bool { return exists(s.path("copy.new")) })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, b := range file[half : len(file)-100] { // it sees the signal with one of them
		if _, err := in.Write([]byte{b}); err != nil {
			break
		}
	}
	in.Close()
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("%v: %s", err, &errs)
	}
	if exists(s.path("copy.new")) || exists(s.path("copy")) {
		t.Error("it left something")
	}
}

// TestRestoreTellsRoom: where the old and the new store leave less than the headroom,
// it says that the agent would drop events for it.
func TestRestoreTellsRoom(t *testing.T) {
	s := newSandbox(t, "")
	newRAMDisk(t, s.path("card"), "64m")
	s.write("fieldpost.yaml", fmt.Sprintf("agent: {id: box}\ndata_dir: %s\napi: {listen: off, socket: %s}\nstore: {headroom: 60MB}\n", s.path("card/data"), s.socket))
	p := s.agent()
	s.mustPublish("a", 1)
	s.run("backup", "b").want(t, 0)
	p.signal(sigTerm)
	p.exits(0, stopTime)
	if r := s.run("restore", "b", "--dir", s.path("copy")).want(t, 0); r.err != "" {
		t.Errorf("with room: %s", r.err)
	}
	s.run("restore", "b", "--yes").want(t, 0, "free, and the agent keeps 60 MB so by dropping the oldest events: take "+s.path("card/data.before-restore")+" to another disk")
}

// TestRestoreOfANewerVersion: it is told as such, with the code for it.
func TestRestoreOfANewerVersion(t *testing.T) {
	s := newSandbox(t, "")
	text, err := json.Marshal(&backup.Manifest{Format: 99})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "manifest.json", Size: int64(len(text)), Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	s.write("b", out.String())
	s.run("restore", "b", "--dir", s.path("copy")).want(t, 2, "format 99", "install a newer fieldpost")
}
