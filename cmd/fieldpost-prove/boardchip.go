package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// The lines of the emulated board, by their number on the header.
const (
	windowLine = 5
	flowLine   = 6
	doorLine   = 17
	lampLine   = 22
	bellLine   = 23
	pumpLine   = 27
)

// simChip is the chip that gpio-sim made: its lines are pulled and looked at from
// behind, through sysfs.
type simChip struct {
	dev   string // /dev/gpiochipN
	sysfs string
}

// findChip finds the chip of gpio-sim. Its number is not known beforehand.
func findChip() (*simChip, error) {
	found, err := filepath.Glob("/sys/devices/platform/gpio-sim.*/gpiochip*/sim_gpio" + strconv.Itoa(doorLine))
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("find gpio-sim's chip: %d of them have line %d", len(found), doorLine)
	}
	dir := filepath.Dir(found[0])
	return &simChip{dev: "/dev/" + filepath.Base(dir), sysfs: dir}, nil
}

func (c *simChip) attr(line int, name string) string {
	return filepath.Join(c.sysfs, "sim_gpio"+strconv.Itoa(line), name)
}

// pull sets what an input reads, or an output falls to when it is let go of.
func (c *simChip) pull(line int, up bool) error {
	way := "pull-down"
	if up {
		way = "pull-up"
	}
	if err := os.WriteFile(c.attr(line, "pull"), []byte(way), 0); err != nil {
		return fmt.Errorf("pull line %d: %w", line, err)
	}
	return nil
}

// level is a line's level as the chip has it.
func (c *simChip) level(line int) (bool, error) {
	b, err := os.ReadFile(c.attr(line, "value"))
	if err != nil {
		return false, fmt.Errorf("read level of line %d: %w", line, err)
	}
	return strings.TrimSpace(string(b)) == "1", nil
}

// mono is the kernel's monotonic clock, which stamps edges.
func mono() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // a clock that is always there
	return t.Nano()
}

// tickAfter is when the next tick is due: those whose time has passed are left out.
func tickAfter(now, next, every int64) (due int64, skipped int) {
	for now > next {
		next += every
		skipped++
	}
	return next, skipped
}

// toggler changes the level of the door ten times a second, and the flow meter's
// each second, until it is told to stop.
type toggler struct {
	chip    *simChip
	toggles []toggle
	pulses  int // rising edges of the flow meter
	skipped int // ticks that were late and left out
}

const tickEvery = 100 * time.Millisecond

func (t *toggler) run(ctx context.Context) error {
	next := mono() + int64(tickEvery)
	for i := 0; ; i++ {
		if pause(ctx, time.Duration(next-mono())) != nil {
			return nil // it was told to stop
		}
		level := len(t.toggles)%2 == 0
		tick := toggle{before: mono(), level: level}
		if err := t.chip.pull(doorLine, level); err != nil {
			return err
		}
		tick.after = mono()
		t.toggles = append(t.toggles, tick)
		if i%5 == 0 {
			up := i%10 == 0
			if err := t.chip.pull(flowLine, up); err != nil {
				return err
			}
			if up {
				t.pulses++
			}
		}
		var skipped int
		next, skipped = tickAfter(mono(), next+int64(tickEvery), int64(tickEvery))
		t.skipped += skipped
	}
}

// sampler looks at the outputs' levels in sysfs until it is told to stop.
type sampler struct {
	chip    *simChip
	every   time.Duration
	samples []sample
	last    atomic.Int64 // when the last whole sample began
}

func (s *sampler) run(ctx context.Context) error {
	for pause(ctx, s.every) == nil {
		p := sample{at: mono()}
		var err, perr error
		p.lamp, err = s.chip.level(lampLine)
		p.pump, perr = s.chip.level(pumpLine)
		if err := errors.Join(err, perr); err != nil {
			return err
		}
		p.end = mono()
		s.samples = append(s.samples, p)
		s.last.Store(p.at)
	}
	return nil
}

// since waits for a sample that began after a moment, and gives the time then. The
// machine may stall for longer than any time that one could wait without looking.
func (s *sampler) since(ctx context.Context, moment int64) (now int64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("no look at the outputs for 20 s"))
	defer cancel()
	err = poll(ctx, s.every, func() (bool, error) { return s.last.Load() >= moment, nil })
	return mono(), err
}

// background runs something beside the faults. The function given stops it, waits
// for its end, and gives its error.
func background(ctx context.Context, f func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return sync.OnceValue(func() error {
		cancel()
		return <-done
	})
}

// infoWatch has the kernel tell of each request, release and new config of a line.
type infoWatch struct{ chip *os.File }

func watchInfo(chip *simChip, line int) (*infoWatch, error) {
	f, err := os.OpenFile(chip.dev, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("watch line %d: %w", line, err)
	}
	info := uapi.LineInfoV2{Offset: uint32(line)}
	if err := uapi.WatchLineInfoV2(f.Fd(), &info); err != nil {
		return nil, errors.Join(fmt.Errorf("watch line %d: %w", line, err), f.Close())
	}
	if !info.Flags.IsUsed() || !info.Flags.IsOutput() {
		return nil, errors.Join(fmt.Errorf("watch line %d: it is no output in use", line), f.Close())
	}
	return &infoWatch{f}, nil
}

// changes gives what the kernel told since the last call.
func (w *infoWatch) changes() (told []string, err error) {
	names := map[uapi.ChangeType]string{uapi.LineChangedRequested: "requested", uapi.LineChangedReleased: "released", uapi.LineChangedConfig: "reconfigured"}
	for {
		fds := []unix.PollFd{{Fd: int32(w.chip.Fd()), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, 0); err != nil || n == 0 {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return told, err
		}
		ev, err := uapi.ReadLineInfoChangedV2(w.chip.Fd())
		if err != nil {
			return told, fmt.Errorf("read line info: %w", err)
		}
		told = append(told, fmt.Sprintf("line %d %s", ev.Info.Offset, names[ev.Type]))
	}
}

func (w *infoWatch) Close() error { return w.chip.Close() }

// setSynced makes the kernel hold its clock for synchronised, or not.
func setSynced(synced bool) error {
	const staUnsync = 0x40
	t := unix.Timex{Modes: unix.ADJ_STATUS | unix.ADJ_MAXERROR | unix.ADJ_ESTERROR, Status: staUnsync, Maxerror: 16_000_000, Esterror: 16_000_000}
	if synced {
		t.Status, t.Maxerror, t.Esterror = 0, 20_000, 10_000
	}
	if _, err := unix.Adjtimex(&t); err != nil {
		return fmt.Errorf("set the kernel's clock state: %w", err)
	}
	return nil
}
