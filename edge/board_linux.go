package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What adjtimex says of the clock, from linux/timex.h; x/sys has no names for them.
const (
	timeError = 5      // TIME_ERROR: the clock is not synchronised
	staUnsync = 0x40   // STA_UNSYNC
	staNano   = 0x2000 // STA_NANO: Offset is in nanoseconds
)

// ThisBoard is the machine that the program runs on. It fails only where the
// kernel's boot id can't be read.
func ThisBoard() (Board, error) {
	b, err := boardAt("/")
	if err != nil {
		return Board{}, err
	}
	if b.Mono, err = monotonic(); err != nil {
		return Board{}, err
	}
	b.Wall = time.Now
	b.Slept = slept
	b.Adjtimex = adjtimex
	b.Steps = clockSteps
	return b, nil
}

// boardAt reads what names the board out of the file system at root.
func boardAt(root string) (Board, error) {
	boot, err := os.ReadFile(filepath.Join(root, "proc/sys/kernel/random/boot_id"))
	if err != nil {
		return Board{}, fmt.Errorf("read boot id: %w", err)
	}
	b := Board{BootID: strings.TrimSpace(string(boot))}
	if b.BootID == "" {
		return Board{}, errors.New("read boot id: it is empty")
	}
	b.Serial = treeText(root, "serial-number")
	b.Model = treeText(root, "model")
	if b.Serial == "" {
		b.Serial = machineSerial(root)
	}
	return b, nil
}

// treeText reads a text of the device tree, which ends in a NUL; "" where there is none.
func treeText(root, name string) string {
	v, err := os.ReadFile(filepath.Join(root, "sys/firmware/devicetree/base", name))
	if err != nil {
		return "" // only a board with a device tree has one
	}
	return strings.TrimSpace(strings.TrimRight(string(v), "\x00"))
}

// machineSerial stands in for a serial where the board has none. The machine id
// itself is meant to stay on the machine, so it is hashed.
func machineSerial(root string) string {
	id, err := os.ReadFile(filepath.Join(root, "etc/machine-id"))
	if text := strings.TrimSpace(string(id)); err == nil && text != "" {
		sum := sha256.Sum256([]byte("fieldpost " + text))
		return hex.EncodeToString(sum[:8])
	}
	return ""
}

// monotonic reads CLOCK_MONOTONIC. Go's own clock is the same one without its
// zero, and costs no system call.
func monotonic() (func() int64, error) {
	var ts unix.Timespec
	before := time.Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return nil, fmt.Errorf("read CLOCK_MONOTONIC: %w", err)
	}
	base := ts.Nano()
	return func() int64 { return base + int64(time.Since(before)) }, nil
}

// slept is what CLOCK_BOOTTIME has counted and CLOCK_MONOTONIC has not: the least of
// a few readings, as the clocks are read one after the other.
func slept() time.Duration {
	least := int64(math.MaxInt64)
	for range 3 {
		var all, awake unix.Timespec
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &all) != nil {
			return 0 // every kernel since 2.6.39 has both
		}
		least = min(least, all.Nano()-awake.Nano())
	}
	return time.Duration(least)
}

func adjtimex() (synced bool, bound time.Duration, err error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, 0, fmt.Errorf("read the clock's state: %w", err)
	}
	return state != timeError && t.Status&staUnsync == 0, largestError(&t), nil
}

// largestError adds to the kernel's own what it has been told to slew away and has
// not yet: systemd-timesyncd says 0 before the kernel has begun to.
func largestError(t *unix.Timex) time.Duration {
	left := time.Duration(t.Offset)
	if t.Status&staNano == 0 {
		left *= time.Microsecond
	}
	return time.Duration(t.Maxerror)*time.Microsecond + left.Abs()
}

// clockSteps waits on a timer that the kernel cancels when the clock is set.
// Where that timer can't be had the channel stays silent: the Clock polls too.
func clockSteps(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	f, err := cancelTimer()
	if err != nil {
		go func() {
			<-ctx.Done()
			close(c)
		}()
		return c
	}
	stop := context.AfterFunc(ctx, func() { f.Close() })
	go func() {
		defer close(c)
		defer stop()
		defer f.Close()
		waitSteps(ctx, f, c)
	}()
	return c
}

func waitSteps(ctx context.Context, f *os.File, c chan<- struct{}) {
	var b [8]byte
	for ctx.Err() == nil {
		_, err := f.Read(b[:])
		if !errors.Is(err, unix.ECANCELED) { // or it ran out: in 2038, on 32 bit
			<-ctx.Done()
			return
		}
		select {
		case c <- struct{}{}:
		default:
		}
		if arm(f) != nil {
			<-ctx.Done()
			return
		}
	}
}

func cancelTimer() (*os.File, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "clock steps")
	if err := arm(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// arm sets the timer as far away as it goes: it matters only that it is set.
func arm(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var spec unix.ItimerSpec
	spec.Value.Sec = math.MaxInt
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &spec, nil)
	})
	return errors.Join(err, failed)
}
