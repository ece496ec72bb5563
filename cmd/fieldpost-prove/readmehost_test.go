package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// said is what a script prints, to be asked while it runs.
type said struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// copyTree copies the sources that git knows of, as a clone has them.
func copyTree(t *testing.T, to string) {
	t.Helper()
	list := exec.Command("git", "-C", "../..", "ls-files", "-co", "--exclude-standard", "-z")
	pack := exec.Command("tar", "-C", "../..", "--null", "-T", "-", "--ignore-failed-read", "-c")
	unpack := exec.Command("tar", "-C", to, "-x")
	names, err := list.Output()
	if err != nil {
		t.Fatalf("list the sources: %v", err)
	}
	pack.Stdin = bytes.NewReader(names)
	r, w := io.Pipe()
	pack.Stdout, unpack.Stdin = w, r
	if err := unpack.Start(); err != nil {
		t.Fatal(err)
	}
	err = pack.Run()
	_ = w.Close() // a pipe of this process
	if err = errors.Join(err, unpack.Wait()); err != nil {
		t.Fatalf("copy the sources: %v", err)
	}
}

// freePort is a port of loopback that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// fiveMinutes are the blocks of the README's first quick start as one script that ends
// at the first mistake. Only the folder and the port are others, so that two can run.
func fiveMinutes(t *testing.T, dir, port string) string {
	t.Helper()
	fences, err := shellFences(readme(t), readmeHost)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(fences, "\n")
	for _, word := range []string{"make build\n", "fieldpost check", "run --simulate", "pins drive", "/v1/stream", "/tmp/greenhouse", ":8717"} {
		if !strings.Contains(text, word) {
			t.Fatalf("README.md, %q: there is no %q in its blocks", readmeHost, word)
		}
	}
	text = strings.NewReplacer("/tmp/greenhouse", dir, ":8717", ":"+port).Replace(text)
	return "set -euo pipefail\n" + text + "\n"
}

// TestReadmeFiveMinutes does what the README says for any machine, in a copy of the
// tree: build, check, run on the simulated board, look, command, publish, stream.
func TestReadmeFiveMinutes(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the tree")
	}
	tree, dir := t.TempDir(), filepath.Join(t.TempDir(), "g")
	copyTree(t, tree)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out said
	cmd := exec.CommandContext(ctx, "bash", "-c", fiveMinutes(t, dir, freePort(t)))
	cmd.Dir, cmd.Stdout, cmd.Stderr = tree, &out, &out
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FIELDPOST_") && !strings.HasPrefix(v, "MAKE") && !strings.HasPrefix(v, "VERSION=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	// A group of its own: the agent, which the script leaves running, is in it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }() // there is nobody where all went well
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop := func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may be gone
		<-ended
	}
	// The stream of its last line goes on until it is ended; a level is moved meanwhile.
	pump := "off"
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for !strings.Contains(out.String(), "\ndata: ") {
		select {
		case err := <-ended:
			t.Fatalf("the script ended before its end: %v\n%s", err, out.String())
		case <-tick.C:
			set := exec.CommandContext(ctx, filepath.Join(tree, "bin/fieldpost"), "set", "pump", pump)
			set.Env = append(os.Environ(), "FIELDPOST_SOCKET="+filepath.Join(dir, "fieldpost.sock"))
			if set.Run() == nil && pump == "off" { // while there is no agent it fails
				pump = "on"
			} else {
				pump = "off"
			}
		}
	}
	stop()
	for _, word := range []string{"fine: 2 devices", "AGENT", `"value":21.5`, "kitchen/temp", "door", "pump"} {
		if !strings.Contains(out.String(), word) {
			t.Errorf("it never said %q", word)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}
