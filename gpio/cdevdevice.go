package gpio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// cdevDevice is an open character device of a chip. Nothing of it changes.
type cdevDevice struct {
	fd    uintptr
	path  string   // /dev/gpiochip0, or a link to it
	name  string   // gpiochip0: what the kernel calls it
	label string   // pinctrl-bcm2711: the same with every kernel
	names []string // of the lines, by offset; "" where the kernel has none
}

// openDevice opens a character device and reads what it says of itself.
func openDevice(path string) (*cdevDevice, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	d := &cdevDevice{fd: uintptr(fd), path: path}
	if err := d.learn(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *cdevDevice) close() { _ = unix.Close(int(d.fd)) } // nothing was written to it

// learn reads the chip's names and those of its lines.
func (d *cdevDevice) learn() error {
	info, err := uapi.GetChipInfo(d.fd)
	if err != nil {
		return fmt.Errorf("ask %s what it is: %w", d.path, err)
	}
	d.name, d.label = uapi.BytesToString(info.Name[:]), uapi.BytesToString(info.Label[:])
	d.names = make([]string, info.Lines)
	for i := range d.names {
		line, err := uapi.GetLineInfoV2(d.fd, i)
		switch {
		case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY):
			return fmt.Errorf("ask %s for its lines: the kernel is older than 5.10, which brought the interface that this needs: %w", d.path, err)
		case err != nil:
			return fmt.Errorf("ask %s for line %d: %w", d.path, i, err)
		}
		d.names[i] = uapi.BytesToString(line.Name[:])
	}
	return nil
}

// chipPaths are the character devices of chips, gpiochip2 before gpiochip10. Of
// several paths to one device, as the link of a Pi 5 is, the first counts.
func chipPaths(dev string) (paths []string) {
	found, _ := filepath.Glob(filepath.Join(dev, "gpiochip*")) // the pattern is well-formed
	sort.SliceStable(found, func(i, j int) bool { return len(found[i]) < len(found[j]) })
	var seen []uint64
	for _, path := range found {
		info, err := os.Stat(path)
		if err != nil {
			continue // a link to nothing
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode()&os.ModeCharDevice != 0 {
			if slices.Contains(seen, uint64(st.Rdev)) {
				continue
			}
			seen = append(seen, uint64(st.Rdev))
		}
		paths = append(paths, path)
	}
	return paths
}

// consumer cuts a holder's name to the 31 bytes that the kernel takes, between
// characters.
func consumer(s string) string {
	const most = 31
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for len(s) > 0 {
		if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s
}

// fdinfo tells which line a descriptor is a request of, as the kernel says.
func fdinfo(fd uintptr) (chip string, offset int, err error) {
	b, err := os.ReadFile(filepath.Join("/proc/self/fdinfo", fmt.Sprint(fd)))
	if err != nil {
		return "", 0, fmt.Errorf("ask for descriptor %d: %w", fd, err)
	}
	offset = -1
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch value = strings.TrimSpace(value); key {
		case "gpio-chip":
			chip = value
		case "gpio-line":
			if _, err := fmt.Sscan(value, &offset); err != nil {
				return "", 0, fmt.Errorf("ask for descriptor %d: its line is %q", fd, value)
			}
		}
	}
	if chip == "" || offset < 0 {
		return "", 0, fmt.Errorf("ask for descriptor %d: it is no line request", fd)
	}
	return chip, offset, nil
}
