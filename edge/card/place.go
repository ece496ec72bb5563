package card

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxDepth bounds how many layers are followed: a loop on a loop and so on.
const maxDepth = 8

// System is where the kernel shows itself. The zero value is the running one; a
// test gives the root of a tree of its own, without a slash at the end.
type System struct{ Root string }

func (s System) path(p string) string { return s.Root + p }

// text reads a small file of the kernel's; "" where there is none.
func (s System) text(p string) string {
	b, err := os.ReadFile(s.path(p))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Place is the storage under a folder.
type Place struct {
	Dir     string    `json:"dir"`
	Mount   string    `json:"mount"`
	FS      string    `json:"fs"` // ext4, tmpfs, ...
	Source  string    `json:"source"`
	Options []string  `json:"options"` // of the mount and of the file system
	Devices []*Device `json:"devices"` // from the file system's own down to the last; none where no device is known
	Upper   *Place    `json:"upper,omitempty"`
	// NoDevice says why there is none, in words; "" where there is one.
	NoDevice string `json:"no_device,omitempty"`
	// Journal is whether the file system keeps a log of its own changes, where
	// that can be seen.
	Journal *bool `json:"journal,omitempty"`
}

// Device is the file system's own device: a partition, a card. nil: none is known.
func (p *Place) Device() *Device {
	if len(p.Devices) == 0 {
		return nil
	}
	return p.Devices[0]
}

// Has reports whether an option is set, such as "nobarrier" or "data=writeback".
func (p *Place) Has(option string) bool { return slices.Contains(p.Options, option) }

// mount is one line of mountinfo.
type mount struct {
	dev, point, fs, source string
	options                []string
}

// Find finds the storage under a folder, which must exist.
func (s System) Find(dir string) (*Place, error) { return s.find(dir, 0) }

func (s System) find(dir string, depth int) (*Place, error) {
	real, err := filepath.Abs(dir)
	if err == nil && s.Root == "" {
		real, err = filepath.EvalSymlinks(real)
	}
	if err != nil {
		return nil, fmt.Errorf("find storage of %s: %w", dir, err)
	}
	raw, err := os.ReadFile(s.path("/proc/self/mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("find storage of %s: %w", dir, err)
	}
	m, ok := mountOf(string(raw), real)
	if !ok {
		return nil, fmt.Errorf("find storage of %s: no mount holds it", dir)
	}
	p := &Place{Dir: real, Mount: m.point, FS: m.fs, Source: m.source, Options: m.options}
	switch {
	case depth >= maxDepth:
		p.NoDevice = "there are too many layers to follow"
	case m.fs == "overlay":
		s.findUpper(p, depth)
	default:
		s.findDevices(p, m.dev, depth)
	}
	return p, nil
}

// findUpper follows an overlay to the layer that takes the writes.
func (s System) findUpper(p *Place, depth int) {
	p.NoDevice = "an overlay: what is written goes to its upper layer, which can't be seen from here"
	for _, o := range p.Options {
		upper, ok := strings.CutPrefix(o, "upperdir=")
		if !ok {
			continue
		}
		if _, err := os.Stat(s.path(upper)); err != nil {
			return // another mount namespace has it
		}
		if below, err := s.find(upper, depth+1); err == nil {
			p.Upper, p.Devices, p.NoDevice = below, below.Devices, below.NoDevice
		}
	}
}

func (s System) findDevices(p *Place, dev string, depth int) {
	sys, err := filepath.EvalSymlinks(s.path("/sys/dev/block/" + dev))
	if err != nil { // btrfs and others have a number of no device: their source has one
		if dev, err = s.numberOf(p.Source); err == nil {
			sys, err = filepath.EvalSymlinks(s.path("/sys/dev/block/" + dev))
		}
	}
	if err != nil {
		p.NoDevice = "no block device is under a " + p.FS
		return
	}
	p.Devices = s.chain(sys, depth)
	s.findJournal(p)
}

// numberOf is the device number of a node such as /dev/sda1.
func (s System) numberOf(source string) (string, error) {
	if !strings.HasPrefix(source, "/dev/") {
		return "", errors.New("no device node")
	}
	var st unix.Stat_t
	if err := unix.Stat(s.path(source), &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", errors.New("no block device")
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)), nil
}

// findJournal looks whether an ext file system has its log.
func (s System) findJournal(p *Place) {
	if p.FS != "ext4" && p.FS != "ext3" {
		return
	}
	logs, err := os.ReadDir(s.path("/proc/fs/jbd2"))
	if err != nil {
		return
	}
	has := slices.ContainsFunc(logs, func(e os.DirEntry) bool {
		i := strings.LastIndexByte(e.Name(), '-') // sda1-8: the log's inode
		return i > 0 && e.Name()[:i] == p.Devices[0].Name
	})
	p.Journal = &has
}

// mountOf finds the mount that holds a path: the longest, and the last of those,
// which lies over the others.
func mountOf(table, path string) (best mount, found bool) {
	for line := range strings.Lines(table) {
		m, ok := parseMount(line)
		if !ok || len(m.point) < len(best.point) && found {
			continue
		}
		if m.point == "/" || m.point == path || strings.HasPrefix(path, m.point+"/") {
			best, found = m, true
		}
	}
	return best, found
}

// parseMount reads "27 1 254:0 / /mnt rw,noatime shared:1 - ext4 /dev/vda rw,discard".
func parseMount(line string) (mount, bool) {
	head, tail, ok := strings.Cut(line, " - ")
	h, t := strings.Fields(head), strings.Fields(tail)
	if !ok || len(h) < 6 || len(t) < 2 {
		return mount{}, false
	}
	m := mount{dev: h[2], point: unescape(h[4]), fs: t[0], source: unescape(t[1]), options: strings.Split(h[5], ",")}
	if len(t) > 2 {
		for _, o := range strings.Split(t[2], ",") {
			if o = unescape(o); !slices.Contains(m.options, o) {
				m.options = append(m.options, o)
			}
		}
	}
	return m, true
}

// unescape takes back the octal escapes of mountinfo: \040 is a space.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
