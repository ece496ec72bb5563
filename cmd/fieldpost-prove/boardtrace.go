package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	traceDir   = "/sys/kernel/tracing"
	traceValue = "events/gpio/gpio_value/"
)

// drives are the levels that the kernel drove lines to, by the lines' global
// numbers, in order. A look at sysfs can miss a level that lasts for no time; the
// kernel's trace event gpio_value misses none.
type drives map[int]string

// parseDrives reads the kernel's trace. It fails where the kernel had no room for
// all that it had to tell.
func parseDrives(trace string) (drives, error) {
	ds, whole := drives{}, false
	for line := range strings.Lines(trace) {
		var in, written, number, level int
		if _, sums, ok := strings.Cut(line, "# entries-in-buffer/entries-written: "); ok {
			if n, err := fmt.Sscanf(sums, "%d/%d", &in, &written); err != nil || n != 2 || in != written {
				return nil, fmt.Errorf("the trace has lost something: %s", strings.TrimSpace(line))
			}
			whole = true
		}
		if _, event, ok := strings.Cut(line, " gpio_value: "); ok {
			if n, _ := fmt.Sscanf(event, "%d set %d", &number, &level); n == 2 {
				ds[number] += strconv.Itoa(level)
			}
		}
	}
	if !whole {
		return nil, errors.New("the trace does not say how much it has")
	}
	return ds, nil
}

// valueTrace is the kernel's record of the levels that lines are driven to.
type valueTrace struct{ lamp, pump int } // their global numbers

func traceWrite(file, text string) error {
	if err := os.WriteFile(filepath.Join(traceDir, file), []byte(text), 0); err != nil {
		return fmt.Errorf("trace levels: %w", err)
	}
	return nil
}

// startTrace switches the record on. It keeps what lines are driven to, and not
// what they read: the buffer has room for far more than that.
func startTrace() error {
	if _, err := os.Stat(filepath.Join(traceDir, "trace")); err != nil {
		if err := unix.Mount("tracefs", traceDir, "tracefs", 0, ""); err != nil {
			return fmt.Errorf("mount tracefs: %w", err)
		}
	}
	return errors.Join(traceWrite(traceValue+"filter", "get == 0"), traceWrite(traceValue+"enable", "1"), traceWrite("trace", ""))
}

// driven gives what the record has since the call before.
func driven() (drives, error) {
	b, err := os.ReadFile(filepath.Join(traceDir, "trace"))
	if err != nil {
		return nil, fmt.Errorf("read the trace: %w", err)
	}
	if err := traceWrite("trace", ""); err != nil {
		return nil, err
	}
	return parseDrives(string(b))
}

// switchOnTraced switches the lamp on, then the pump. Nothing else drives a line
// meanwhile, so each is the one that is driven, once.
func switchOnTraced(ctx context.Context) (*valueTrace, error) {
	if err := startTrace(); err != nil {
		return nil, err
	}
	lamp, err := switchedOn(ctx, "lamp")
	if err != nil {
		return nil, err
	}
	pump, err := switchedOn(ctx, "pump")
	if err == nil && pump-lamp != pumpLine-lampLine {
		err = fmt.Errorf("the trace has the lamp as line %d and the pump as %d", lamp, pump)
	}
	return &valueTrace{lamp: lamp, pump: pump}, err
}

// switchedOn switches an output on and gives the number that the trace has it by.
func switchedOn(ctx context.Context, name string) (number int, err error) {
	if _, err := driven(); err != nil {
		return 0, err
	}
	if err := switchOn(ctx, name); err != nil {
		return 0, err
	}
	ds, err := driven()
	if err != nil {
		return 0, err
	}
	for n, levels := range ds {
		if levels == "1" {
			number = n
		}
	}
	if len(ds) != 1 || number == 0 {
		return 0, fmt.Errorf("switch the %s on: the trace has %v", name, ds)
	}
	return number, nil
}

// judgeDrives sees that the lamp was never driven off. That the pump was, again and
// again, shows that the record went on through all of it.
func (t *valueTrace) judgeDrives(ds drives, offs int) (faults []string) {
	if strings.Contains(ds[t.lamp], "0") {
		faults = append(faults, fmt.Sprintf("the lamp was driven to %q", ds[t.lamp]))
	}
	if got := strings.Count(ds[t.pump], "0"); got < offs || strings.Count(ds[t.pump], "1") < offs {
		faults = append(faults, fmt.Sprintf("the pump was driven to %q, which is not off and on %d times: the trace has holes", ds[t.pump], offs))
	}
	for _, n := range others(ds, t.lamp, t.pump) {
		faults = append(faults, fmt.Sprintf("line %d, which is no output, was driven to %q", n, ds[n]))
	}
	return faults
}

// others are the lines of a record but for two, in order.
func others(ds drives, a, b int) (left []int) {
	for n := range ds {
		if n != a && n != b {
			left = append(left, n)
		}
	}
	slices.Sort(left)
	return left
}
