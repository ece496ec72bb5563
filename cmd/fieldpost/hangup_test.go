package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHangup: a SIGHUP to an agent in a terminal takes the config anew; the one that
// comes when the terminal goes drains it.
func TestHangup(t *testing.T) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("there are no pseudo-terminals here: ", err)
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	defer master.Close()
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := newSandbox(t, "")
	p := &process{Cmd: s.command("run", "--simulate"), t: t, done: make(chan struct{})}
	p.Stdin, p.Stdout, p.Stderr = tty, p, p
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	go func() {
		_ = p.Wait() // ProcessState has it
		close(p.done)
	}()
	t.Cleanup(func() { _ = p.Process.Kill(); <-p.done })
	s.answers(p)
	p.signal(sigHup)
	s.until("it took the config", func() bool { return strings.Contains(p.text(), "the config is taken") })
	master.Close()
	p.exits(0, stopTime)
	if !strings.Contains(p.text(), "the terminal is gone") {
		t.Error(p.text())
	}
}
