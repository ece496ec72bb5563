package card

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Kind is what a block device is, as far as its name and place tell.
type Kind string

// The kinds of block devices.
const (
	SDCard    Kind = "SD card"
	EMMC      Kind = "eMMC"
	NVMe      Kind = "NVMe"
	USBDisk   Kind = "USB disk"
	Disk      Kind = "disk" // SATA and others that speak SCSI
	Virtual   Kind = "virtual disk"
	Loop      Kind = "loop device"
	RAM       Kind = "RAM disk"
	Stacked   Kind = "stacked device" // dm, md: what is below it counts
	Partition Kind = "partition"
	Unknown   Kind = "block device"
)

// Device is one layer of the storage, as the kernel shows it in /sys.
type Device struct {
	Name       string `json:"name"`
	Kind       Kind   `json:"kind"`
	Size       int64  `json:"size"`                  // bytes
	Model      string `json:"model"`                 // as the device names itself; "" where it does not
	WriteCache string `json:"write_cache,omitempty"` // "write back", "write through"; "" for a partition
	FUA        bool   `json:"fua"`
	Rotational bool   `json:"rotational"`
	// CountsFlushes is whether the kernel counts the flushes that the device took:
	// not for a partition, a stacked device, or before Linux 5.5.
	CountsFlushes bool `json:"counts_flushes"`
	// About is what a card says of itself: manfid, date, life_time and so on.
	About map[string]string `json:"about,omitempty"`

	sys string // its folder in /sys
}

// cardFacts are the files that tell of a card or of another disk, below device/.
var cardFacts = []string{"type", "name", "manfid", "oemid", "date", "serial", "cid", "fwrev", "hwrev", "life_time", "pre_eol_info", "model", "vendor", "rev"}

// chain lists a device and all that is below it.
func (s System) chain(sys string, depth int) []*Device {
	d := s.device(sys)
	all := []*Device{d}
	switch {
	case depth >= maxDepth:
	case d.Kind == Partition:
		all = append(all, s.chain(filepath.Dir(sys), depth+1)...)
	case d.Kind == Loop:
		file := text(sys, "loop/backing_file")
		if below, err := s.find(filepath.Dir(file), depth+1); file != "" && err == nil {
			all = append(all, below.Devices...)
		}
	default:
		slaves, err := os.ReadDir(filepath.Join(sys, "slaves"))
		if err != nil {
			break // it stands alone
		}
		for _, e := range slaves {
			if below, err := filepath.EvalSymlinks(filepath.Join(sys, "slaves", e.Name())); err == nil {
				all = append(all, s.chain(below, depth+1)...)
			}
		}
	}
	return all
}

func (s System) device(sys string) *Device {
	d := &Device{Name: filepath.Base(sys), sys: sys, About: map[string]string{}}
	sectors, _ := strconv.ParseInt(text(sys, "size"), 10, 64) // 0 where it says nothing
	d.Size = sectors * 512
	if text(sys, "partition") != "" {
		d.Kind = Partition
		return d
	}
	d.WriteCache = text(sys, "queue/write_cache")
	d.FUA = text(sys, "queue/fua") == "1"
	d.Rotational = text(sys, "queue/rotational") == "1"
	for _, f := range cardFacts {
		if v := text(sys, "device/"+f); v != "" && len(v) < 100 {
			d.About[f] = v
		}
	}
	d.Kind = kindOf(sys, d)
	for _, f := range []string{"name", "model"} {
		if d.Model == "" && d.Kind != Virtual {
			d.Model = d.About[f]
		}
	}
	// Only what goes through a request queue is counted as a flush there.
	_, err := os.Stat(filepath.Join(sys, "mq"))
	d.CountsFlushes = err == nil && len(strings.Fields(text(sys, "stat"))) >= 17
	return d
}

// kindOf tells a device by its name, as udev's rules do.
func kindOf(sys string, d *Device) Kind {
	slaves, _ := os.ReadDir(filepath.Join(sys, "slaves")) // none: it stands alone
	switch name := d.Name; {
	case strings.HasPrefix(name, "mmcblk") && d.About["type"] == "SD":
		return SDCard
	case strings.HasPrefix(name, "mmcblk"):
		return EMMC
	case strings.HasPrefix(name, "nvme"):
		return NVMe
	case strings.HasPrefix(name, "loop"):
		return Loop
	case strings.HasPrefix(name, "zram"), strings.HasPrefix(name, "ram"):
		return RAM
	case strings.HasPrefix(name, "vd"), strings.HasPrefix(name, "xvd"):
		return Virtual
	case len(slaves) > 0:
		return Stacked
	case strings.HasPrefix(name, "sd") && strings.Contains(sys, "/usb"):
		return USBDisk
	case strings.HasPrefix(name, "sd") && strings.Contains(d.About["vendor"], "QEMU"):
		return Virtual
	case strings.HasPrefix(name, "sd"):
		return Disk
	}
	return Unknown
}

// text reads a small file of a folder in /sys; "" where there is none.
func text(sys, name string) string { return System{Root: sys}.text("/" + name) }
