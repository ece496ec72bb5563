package gpiotest

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// KernelSonar is an HC-SR04 on two lines of gpio-sim. It hears the trigger by the
// kernel's trace event gpio_value (Linux's include/trace/events/gpio.h), which misses
// no pulse however short, and pulls the echo's line.
type KernelSonar struct {
	sim           *KernelSim
	trigger, echo int

	mu    sync.Mutex
	width time.Duration // of the echo; 0: it does not answer
	pings []Ping
}

// Ping is one echo. Each pull of its line began and ended at these times of
// CLOCK_MONOTONIC, so that the kernel's stamp of the edge is between the two.
type Ping struct{ UpFrom, UpTo, DownFrom, DownTo int64 }

// Least is the narrowest that the kernel may have seen it.
func (p Ping) Least() time.Duration { return time.Duration(p.DownFrom - p.UpTo) }

// Most is the widest that the kernel may have seen it.
func (p Ping) Most() time.Duration { return time.Duration(p.DownTo - p.UpFrom) }

// sonarEnd is what ends the goroutine that waits for the trace.
const sonarEnd = "fieldpost sonar ends"

// NewKernelSonar wires one until the test ends; it does not answer before Width.
func NewKernelSonar(t testing.TB, sim *KernelSim, trigger, echo int) *KernelSonar {
	t.Helper()
	const tracing, instance = "/sys/kernel/tracing", "/sys/kernel/tracing/instances/sonar"
	if _, err := os.Stat(filepath.Join(tracing, "instances")); err != nil {
		if err := unix.Mount("tracefs", tracing, "tracefs", 0, ""); err != nil {
			t.Fatalf("mount tracefs: %v", err)
		}
	}
	// An instance of its own: others read and empty the kernel's main trace.
	if err := os.Mkdir(instance, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(instance, "events/gpio/gpio_value/enable"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A read that blocks: a poll of the pipe waits until it is half full.
	fd, err := unix.Open(filepath.Join(instance, "trace_pipe"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	pipe := os.NewFile(uintptr(fd), "trace_pipe")
	s := &KernelSonar{sim: sim, trigger: trigger, echo: echo}
	sim.Pull(t, echo, false)
	ended := make(chan error, 1)
	go func() { ended <- s.listen(pipe) }()
	t.Cleanup(func() {
		if err := os.WriteFile(filepath.Join(instance, "trace_marker"), []byte(sonarEnd), 0o200); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := os.Remove(instance); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Width sets how long the next echoes last; 0 makes it answer nothing at all, as one
// without power.
func (s *KernelSonar) Width(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.width = d
}

// Before is the last echo whose end began before a time; false where there is none.
func (s *KernelSonar) Before(mono int64) (p Ping, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.pings {
		if q.DownFrom <= mono {
			p, ok = q, true
		}
	}
	return p, ok
}

// listen answers each end of a trigger. The pipe is left when its end is told.
func (s *KernelSonar) listen(pipe *os.File) error {
	defer pipe.Close()
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		if strings.Contains(lines.Text(), sonarEnd) {
			return nil
		}
		if !s.triggered(lines.Text()) {
			continue
		}
		if err := s.answer(); err != nil {
			return err
		}
	}
	return fmt.Errorf("read the trace: it ended, %w", lines.Err())
}

// triggered reports whether a line of the trace is the end of a trigger.
func (s *KernelSonar) triggered(line string) bool {
	_, event, ok := strings.Cut(line, "gpio_value: ")
	if !ok {
		return false
	}
	n, ok := s.sim.number(s.trigger)
	return ok && strings.TrimSpace(event) == fmt.Sprintf("%d set 0", n)
}

func (s *KernelSonar) answer() error {
	s.mu.Lock()
	width := s.width
	s.mu.Unlock()
	if width == 0 {
		return nil
	}
	p, clock := Ping{}, KernelClock{}
	p.UpFrom = clock.Mono()
	err := s.sim.pull(s.echo, true)
	p.UpTo = clock.Mono()
	if err != nil {
		return err
	}
	<-time.After(width)
	// Before the pull, so that who hears of its edge finds it.
	s.mu.Lock()
	defer s.mu.Unlock()
	p.DownFrom = clock.Mono()
	err = s.sim.pull(s.echo, false)
	p.DownTo = clock.Mono()
	s.pings = append(s.pings, p)
	return err
}
