package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// eiosOfStore is how many times the disk of one store fails.
const eiosOfStore = 10

// eioMegabytes is the size of a failing disk, which is in this process's memory.
const eioMegabytes = 112

// runEIO lets the device under a live ext4 fail at random moments, half of them
// its writes, half its flushes.
func runEIO(ctx context.Context, p *proof, runs int) ([]result, error) {
	writes := (runs + 1) / 2
	var out []result
	for _, c := range []struct {
		what string
		runs int
		dial func(*BlockDisk, syscall.Errno)
	}{
		{"write", writes, (*BlockDisk).FailWrites},
		{"flush", runs - writes, (*BlockDisk).FailFlushes},
	} {
		r := result{fault: "EIO on " + c.what}
		random := p.rand("eio " + c.what)
		var err error
		for store := 0; r.runs < c.runs && err == nil; store++ {
			s := &series{p: p, name: fmt.Sprintf("EIO on %s, store %d", c.what, store), rand: random, result: &r, boots: true}
			err = s.eios(ctx, min(eiosOfStore, c.runs-r.runs), c.dial)
		}
		if r.runs > 0 {
			out = append(out, r)
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// eios takes one store through a number of failures of its device.
func (s *series) eios(ctx context.Context, moments int, dial func(*BlockDisk, syscall.Errno)) (err error) {
	dir, err := s.p.folder("eio")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	disk, err := newBlockDisk(dir, eioMegabytes, "ext4")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	defer func() { err = errors.Join(s.close(), err) }()
	if err := s.build(ctx, filepath.Join(disk.Path, "data"), cutStore()); err != nil {
		return err
	}
	for i := range moments {
		m := eioMoment{s: s, disk: disk, dial: dial, lasting: s.rand.IntN(2) == 0, dark: s.rand.IntN(3) == 0, again: s.rand.IntN(3) == 0, stays: s.rand.IntN(2) == 0}
		if err := m.run(ctx); err != nil {
			return fmt.Errorf("%s, moment %d: %w\n%s", s.name, i, err, s.subject.Tail())
		}
		s.result.runs++
	}
	return s.end(ctx)
}

// eioMoment is one time that the device fails, for a few requests or until it is
// healed. It ends with a power cut: what is in memory only must not count, and
// after a failed flush that is more than the file system says.
type eioMoment struct {
	s       *series
	disk    *BlockDisk
	dial    func(*BlockDisk, syscall.Errno)
	lasting bool // until a write was refused
	again   bool // the agent is killed when the device is healed, and starts on what memory holds of the disk
	dark    bool // the power is cut before it is healed
	stays   bool // the file system goes on after errors (errors=continue), else it becomes read-only
}

func (m *eioMoment) run(ctx context.Context) error {
	s := m.s
	options := "errors=remount-ro"
	if m.stays {
		options = "errors=continue"
	}
	if err := unix.Mount("", m.disk.Path, "", unix.MS_REMOUNT|unix.MS_NOATIME, options); err != nil {
		return fmt.Errorf("remount with %s: %w", options, err)
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	stop := s.write(ctx, 1+s.rand.IntN(seriesWriters), pace{most: []int{1, 20, 400}[s.rand.IntN(3)], budget: 8000})
	defer stop()
	if err := m.strike(ctx); err != nil {
		return err
	}
	// The device goes on to answer after the cut: nobody may hear of it.
	if err := s.subject.Freeze(ctx); err != nil {
		return err
	}
	m.disk.Cut()
	err := s.subject.Kill()
	stop()
	s.subject.http.CloseIdleConnections()
	return errors.Join(err, m.disk.Revive(), m.repair(ctx))
}

// repair is what a boot does with a file system that has noted an error: it is
// checked before anything is started on it.
func (m *eioMoment) repair(ctx context.Context) error {
	if err := m.disk.unmount(); err != nil {
		return err
	}
	return errors.Join(checkFS(ctx, m.disk.device), mountFS(m.disk.fstype, m.disk.device, m.disk.Path))
}

// checkFS repairs an ext4 that is not mounted any more. The kernel, or a mount
// namespace that is just being made, may hold its device for a moment longer.
func checkFS(ctx context.Context, device string) error {
	const mended, cannot = 2, 8
	return eventually(ctx, 10*time.Second, "the device of an unmounted file system is in use", func() (bool, error) {
		said, err := output("e2fsck", "-f", "-y", device)
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit) && exit.ExitCode() <= mended:
			return true, nil
		case errors.As(err, &exit) && exit.ExitCode() == cannot && strings.Contains(said, "in use"):
			return false, nil
		}
		return err == nil, err
	})
}

// strike is the failure, and what comes of it before the power is cut.
func (m *eioMoment) strike(ctx context.Context) error {
	s := m.s
	if err := pause(ctx, time.Duration(s.rand.Int64N(int64(300*time.Millisecond)))); err != nil {
		return err
	}
	m.dial(m.disk, syscall.EIO)
	if err := m.while(ctx); err != nil || m.dark {
		return err
	}
	m.dial(m.disk, 0)
	if m.again {
		if err := s.subject.Kill(); err != nil {
			return err
		}
		if err := s.startSick(ctx); err != nil {
			return err
		}
	}
	before := s.writers.acknowledged.Load()
	err := eventually(ctx, 4*time.Second, "no event was acknowledged after the device's recovery", func() (bool, error) {
		return s.writers.acknowledged.Load() > before, s.ended()
	})
	if err == nil {
		return pause(ctx, time.Duration(s.rand.Int64N(int64(200*time.Millisecond))))
	}
	if s.ended() != nil || ctx.Err() != nil {
		return err
	}
	// Then it is the file system that has given up, which the agent must say.
	if werr := os.WriteFile(filepath.Join(m.disk.Path, "probe"), []byte("x"), 0o600); werr == nil {
		return fmt.Errorf("%w, and the file system takes writes", err)
	}
	st, err := s.subject.status(ctx)
	if err != nil {
		return err
	}
	if st.State == "ok" || s.subject.get(ctx, "/readyz", nil) == nil {
		return errors.New("nothing can be stored, and the agent says that all is well")
	}
	return s.readsGoOn(ctx)
}

// while is how long the device fails.
func (m *eioMoment) while(ctx context.Context) error {
	s := m.s
	if !m.lasting {
		return pause(ctx, time.Duration(s.rand.Int64N(int64(30*time.Millisecond))))
	}
	before := s.writers.refused.Load()
	err := eventually(ctx, 2*time.Second, "no write was refused by a failing disk", func() (bool, error) {
		return s.writers.refused.Load() > before, s.ended()
	})
	if err != nil {
		return err
	}
	return pause(ctx, time.Duration(s.rand.Int64N(int64(300*time.Millisecond))))
}
