package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// subject is the agent under a fault: the real binary on the store that is struck.
type subject struct {
	*Agent
	prefix []string // what runs the binary: limits on it
	boot   string   // a file with the boot id that it is to see; "" means the kernel's own

	starter *writer // its events are those whose acknowledgement ends a start
}

// subjectOptions say what it has beyond an agent.
type subjectOptions struct {
	AgentOptions
	store  string   // YAML of the store's section
	prefix []string // a program with words that runs the binary
	boots  bool     // each start is to see a boot of its own
}

// cutStore is the store of a run: rings that are small, so that there is eviction
// all the time, and no headroom, so that a disk is filled to the brim.
func cutStore() string {
	var c strings.Builder
	c.WriteString("  headroom: 0\n  rings:\n    events: {keep: 6k events}\n    samples: {keep: 6k events}\n    alarms: {keep: 1k events}\n")
	for client := range seriesWriters + 1 {
		fmt.Fprintf(&c, "    lab-%d: {keep: 500 events}\n", client)
	}
	return c.String()
}

// newSubject makes an agent that has not been started.
func newSubject(opt subjectOptions) (*subject, error) {
	a, err := newAgent(opt.AgentOptions)
	if err != nil {
		return nil, err
	}
	s := &subject{Agent: a, prefix: opt.prefix}
	if opt.boots {
		s.boot = filepath.Join(opt.Dir, "boot_id")
	}
	f, err := os.OpenFile(a.conf, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("add to agent's config: %w", err)
	}
	_, err = f.WriteString("store:\n" + opt.store)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("add to agent's config: %w", err)
	}
	return s, nil
}

// reboot gives the next start a boot of its own: another boot id, which is a mount
// over the kernel's in a mount namespace of the agent's own, and a monotonic clock
// that began a moment ago, by a time namespace. A power cut of one file system is
// no boot of the machine, and the agent must take it for one.
func (s *subject) reboot(number int) error {
	id := fmt.Sprintf("00000000-0000-4000-8000-%012x\n", number)
	if err := os.WriteFile(s.boot, []byte(id), 0o644); err != nil {
		return fmt.Errorf("write boot id: %w", err)
	}
	return nil
}

// bindBoot is what a start with a boot id of its own runs before the agent. It lets
// go of what other proofs have mounted, which could not be unmounted meanwhile.
const bindBoot = `mount --bind "$0" /proc/sys/kernel/random/boot_id || exit
own=$1
shift
while read -r _ at _; do
	case $at/ in
	"$own"/*) ;;
	*/fieldpost-prove-*) umount -l "$at" ;;
	esac
done </proc/mounts
exec "$@"`

// bootTook is how many seconds such a boot took until the agent's start.
const bootTook = 20

// Start runs it; it may not be ready when this returns.
func (s *subject) Start() error {
	words := append(append([]string{}, s.prefix...), s.opt.Binary, "run", "--config", s.conf)
	if s.boot != "" {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return fmt.Errorf("read CLOCK_MONOTONIC: %w", err)
		}
		since := fmt.Sprintf("--monotonic=%d", min(0, bootTook-now.Sec))
		words = append([]string{"unshare", "--mount", "--time", since, "sh", "-c", bindBoot, s.boot, filepath.Dir(s.opt.DataDir)}, words...)
	}
	p, err := startProc(filepath.Join(s.opt.Dir, "fieldpost.log"), words[0], words[1:]...)
	if err != nil {
		return err
	}
	s.Proc = p
	return nil
}

// startMost is how long a start is waited for until it counts as none.
const startMost = 30 * time.Second

// StartTimed starts it and gives the time from the exec to the first event that
// it acknowledged.
func (s *subject) StartTimed(ctx context.Context, ws *writers) (time.Duration, error) {
	began := time.Now()
	if err := s.Start(); err != nil {
		return 0, err
	}
	wait, cancel := context.WithTimeoutCause(ctx, startMost, fmt.Errorf("start fieldpost: no event acknowledged in %v", startMost))
	defer cancel()
	err := poll(wait, time.Millisecond, func() (bool, error) {
		select {
		case <-s.Done():
			return false, fmt.Errorf("start fieldpost: it ended: %v", s.err)
		default:
		}
		err := ws.send(wait, s.starter, 1)
		if no := (*refusal)(nil); err != nil && !errors.Is(err, errAgain) && !(errors.As(err, &no) && no.wrong() == "") {
			return false, err
		}
		return err == nil, nil
	})
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, s.Tail())
	}
	return time.Since(began), nil
}

// subjectStatus is what the agent says of its store.
type subjectStatus struct {
	State    string
	Problems []string
	Store    struct {
		Epoch    string
		Full     bool
		ReadOnly bool `json:"read_only"`
		Error    string
	}
}

func (s *subject) status(ctx context.Context) (subjectStatus, error) {
	var st subjectStatus
	err := s.get(ctx, "/v1/status", &st)
	return st, err
}

// lives reports whether /healthz answers 200 within the time of a watchdog's look.
func (s *subject) lives(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr+"/healthz", nil)
	if err != nil {
		return err
	}
	res, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /healthz: %s", res.Status)
	}
	return nil
}

// toldEpoch gives the reason that the newest epoch's event names, and "" where
// none tells of that epoch.
func toldEpoch(r *reading, epoch string) string {
	why := ""
	for _, e := range r.events {
		if e.Name == "epoch" && e.Kind == "system" && strings.HasPrefix(e.ID, epoch+"-") {
			var d struct{ Epoch, Why string }
			if json.Unmarshal(e.Data, &d) == nil && d.Epoch == epoch {
				why = d.Why
			}
		}
	}
	return why
}
