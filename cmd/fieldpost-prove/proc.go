package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Proc is a program that the driver started: a broker, a peer, the agent. Its
// output goes to a file, and it dies with the driver.
type Proc struct {
	Name string
	Log  string // the file with what it printed

	cmd  *exec.Cmd
	done chan struct{}
	err  error // how it ended; to be read after done
}

// startProc starts a program. What it prints is added to the file log.
func startProc(log, program string, args ...string) (*Proc, error) {
	return startProcTo(log, log, program, args...)
}

// startProcTo starts a program whose standard output is added to a file of its
// own.
func startProcTo(output, log, program string, args ...string) (*Proc, error) {
	name := filepath.Base(program)
	cmd := exec.Command(program, args...)
	for _, to := range []struct {
		path string
		w    *io.Writer
	}{{output, &cmd.Stdout}, {log, &cmd.Stderr}} {
		f, err := os.OpenFile(to.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open log of %s: %w", name, err)
		}
		defer f.Close()
		*to.w = f
	}
	// The agent is what its config says: nothing of the caller's may change it.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FIELDPOST_") })
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Proc{Name: name, Log: log, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Pid is the process id.
func (p *Proc) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Kill ends it as a crash would, and waits for the end.
func (p *Proc) Kill() error { return p.stop(syscall.SIGKILL, 10*time.Second) }

// Term asks it to end and waits; after the time given it is killed, which is an error.
func (p *Proc) Term(within time.Duration) error { return p.stop(syscall.SIGTERM, within) }

func (p *Proc) stop(sig syscall.Signal, within time.Duration) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("stop %s: it did not end within %v of %v", p.Name, within, sig)
	}
}

// Freeze stops it where it stands, and returns when none of its threads runs. One
// that waits for a disk may do so, and goes no further.
func (p *Proc) Freeze(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freeze %s: %w", p.Name, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 5*time.Second, fmt.Errorf("freeze %s: it runs on after 5 s", p.Name))
	defer cancel()
	return poll(ctx, time.Millisecond, func() (bool, error) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.Pid()))
		if err != nil || len(threads) == 0 {
			return false, fmt.Errorf("freeze %s: it has no threads", p.Name)
		}
		for _, path := range threads {
			b, err := os.ReadFile(path)
			if err != nil {
				continue // it has just ended
			}
			_, rest, _ := strings.Cut(string(b), ") ") // the state comes behind the name
			if !strings.HasPrefix(rest, "T") && !strings.HasPrefix(rest, "D") {
				return false, nil
			}
		}
		return true, nil
	})
}

// RSS is the resident memory in bytes (VmRSS).
func (p *Proc) RSS() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		return 0, fmt.Errorf("read memory of %s: %w", p.Name, err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("read memory of %s: no VmRSS", p.Name)
}

// clockTick is the unit of the kernel's CPU times: USER_HZ is 100 on every
// architecture that Linux has today.
const clockTick = 10 * time.Millisecond

// CPU is the time that it has used so far, its own and the kernel's for it.
func (p *Proc) CPU() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return 0, fmt.Errorf("read CPU of %s: %w", p.Name, err)
	}
	d, err := parseCPU(string(b))
	if err != nil {
		return 0, fmt.Errorf("read CPU of %s: %w", p.Name, err)
	}
	return d, nil
}

// parseCPU reads fields 14 and 15 of /proc/PID/stat, utime and stime. The name in
// field 2 may hold anything, so the fields are counted from its bracket on.
func parseCPU(stat string) (time.Duration, error) {
	_, rest, ok := cutLast(stat, ")")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, fmt.Errorf("%q is not a process's stat", stat)
	}
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * clockTick
	}
	return sum, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Tail is the end of what it printed, for an error's text.
func (p *Proc) Tail() string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	const most = 4096
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return strings.TrimSpace(string(b))
}

// freeAddr is a loopback address that nobody listens on just now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// waitDial waits until the address answers a dial, or p has ended.
func waitDial(ctx context.Context, p *Proc, addr string) error {
	var d net.Dialer
	return poll(ctx, 5*time.Millisecond, func() (bool, error) {
		select {
		case <-p.Done():
			return false, fmt.Errorf("start %s: it ended: %v\n%s", p.Name, p.err, p.Tail())
		default:
		}
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
}

// poll asks until the answer is yes, an error, or ctx is done.
func poll(ctx context.Context, every time.Duration, ask func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		yes, err := ask()
		if yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// pause waits for d, or less where ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
