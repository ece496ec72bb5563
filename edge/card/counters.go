package card

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sector is the kernel's unit in stat, whatever the device's own is.
const sector = 512

// Counters is what the kernel counted for a device since it appeared, mostly
// since the boot. It includes all who write to it.
type Counters struct {
	Written   int64         // bytes
	Flushes   uint64        // that the device answered; 0 where it counts none
	FlushTime time.Duration // all of them together
}

// Counters reads /sys/.../stat, which Documentation/block/stat.rst describes.
func (d *Device) Counters() (Counters, error) {
	b, err := os.ReadFile(filepath.Join(d.sys, "stat"))
	if err != nil {
		return Counters{}, fmt.Errorf("read counters of %s: %w", d.Name, err)
	}
	c, err := parseStat(string(b))
	if err != nil {
		return Counters{}, fmt.Errorf("read counters of %s: %w", d.Name, err)
	}
	return c, nil
}

// parseStat takes field 7, sectors written, and where there are any 16 and 17,
// flushes and the milliseconds they took.
func parseStat(text string) (Counters, error) {
	f := strings.Fields(text)
	if len(f) < 7 {
		return Counters{}, fmt.Errorf("%q is no stat of a block device", strings.TrimSpace(text))
	}
	sectors, err := strconv.ParseInt(f[6], 10, 64)
	if err != nil {
		return Counters{}, err
	}
	c := Counters{Written: sectors * sector}
	if len(f) >= 17 {
		flushes, err := strconv.ParseUint(f[15], 10, 64)
		ms, err2 := strconv.ParseInt(f[16], 10, 64)
		if err := errors.Join(err, err2); err != nil {
			return Counters{}, err
		}
		c.Flushes, c.FlushTime = flushes, time.Duration(ms)*time.Millisecond
	}
	return c, nil
}

// OwnWrites is how many bytes this process made the kernel write since it began,
// less what was deleted before it was written. It fails where the kernel does not
// count that.
//
// It is an upper bound: where a file's cache is in large folios (xfs, and ext4
// from Linux 6.16 on) the kernel counts the whole folio for each write into it.
// Measured on 6.18: 200 overwrites of 4 KiB counted as 210 MB.
func (s System) OwnWrites() (int64, error) {
	b, err := os.ReadFile(s.path("/proc/self/io"))
	if err != nil {
		return 0, fmt.Errorf("read own writes: %w", err)
	}
	var wrote, cancelled int64
	found := false
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			continue
		}
		switch key {
		case "write_bytes":
			wrote, found = n, true
		case "cancelled_write_bytes":
			cancelled = n
		}
	}
	if !found {
		return 0, errors.New("read own writes: the kernel does not count them")
	}
	return wrote - cancelled, nil
}
