package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/gpio"
)

// text is a small file of the machine's, "" where it can't be read.
func (p *patient) text(name string) string {
	b, err := os.ReadFile(p.root + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.TrimRight(string(b), "\x00"))
}

// there lists what a pattern finds.
func (p *patient) there(pattern string) []string {
	files, _ := filepath.Glob(p.root + pattern) // it fails on a bad pattern only
	return files
}

func boardCheck(_ context.Context, p *patient) []symptom {
	model := p.text("/proc/device-tree/model")
	if model == "" {
		model = "no Raspberry Pi (there is no device tree)"
	}
	system := "an unknown system"
	for line := range strings.Lines(p.text("/etc/os-release")) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			system = strings.Trim(v, `"`)
		}
	}
	return one(healthy, fmt.Sprintf("%s, %s, Linux %s, %s", model, system, p.text("/proc/sys/kernel/osrelease"), runtime.GOARCH), "")
}

// gpioCheck opens the chips as this user, and looks for the config's lines. Who holds
// one is what the agent's own device says.
func gpioCheck(_ context.Context, p *patient) []symptom {
	chips := p.there("/dev/gpiochip*")
	if len(chips) == 0 {
		return one(notable, "there is no GPIO chip: devices on lines are absent here", "on a board without GPIO: fieldpost run --simulate")
	}
	found := one(healthy, fmt.Sprintf("%d chips: %s", len(chips), strings.Join(chips, ", ")), "")
	board, err := gpio.OpenBoard(gpio.KernelOptions{Dev: p.dev})
	if err != nil {
		return append(found, symptom{Health: ailing, Text: err.Error()})
	}
	defer board.Close()
	if err := board.Problem([]edge.Pin{"GPIO17"}); err != nil {
		found = append(found, symptom{Health: ailing, Text: "as this user: " + oneLine(err.Error())})
	}
	return found
}

// unitGroups are the groups of the package's user that open the board's device files
// (packaging/systemd/fieldpost.sysusers).
var unitGroups = []struct{ group, of string }{{"gpio", "lines"}, {"i2c", "I2C buses"}, {"spi", "SPI ports"}, {"dialout", "serial ports"}}

func groupsCheck(_ context.Context, p *patient) []symptom {
	const user = "fieldpost"
	members := map[string][]string{}
	for line := range strings.Lines(p.text("/etc/group")) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 4 {
			members[f[0]] = strings.Split(f[3], ",")
		}
	}
	if !strings.Contains("\n"+p.text("/etc/passwd"), "\n"+user+":") {
		return one(notable, "there is no user fieldpost: the package is not installed, the agent runs as whoever starts it", "")
	}
	var found []symptom
	for _, g := range unitGroups {
		if !slices.Contains(members[g.group], user) {
			found = append(found, symptom{Health: ailing, Text: fmt.Sprintf("user %s is not in group %s: it can't use %s", user, g.group, g.of),
				Cure: fmt.Sprintf("sudo groupadd -f %s && sudo usermod -aG %s %s, then sudo systemctl restart fieldpost", g.group, g.group, user)})
		}
	}
	if found == nil {
		found = one(healthy, "user fieldpost is in gpio, i2c, spi and dialout", "")
	}
	return found
}

// need is what a driver needs of the kernel, and the line of config.txt that gives it.
type need struct {
	drivers []string
	what    string
	files   string
	line    string
}

var needs = []need{
	{[]string{"bme280", "ads1115", "mcp23017"}, "I2C bus", "/dev/i2c-*", "dtparam=i2c_arm=on"},
	{[]string{"mcp3008"}, "SPI port", "/dev/spidev*", "dtparam=spi=on"},
	{[]string{"ds18b20"}, "1-wire bus", "/sys/bus/w1/devices/w1_bus_master*", "dtoverlay=w1-gpio"},
	{[]string{"dht22"}, "DHT sensor of the kernel's", "/sys/bus/iio/devices/iio:device*", "dtoverlay=dht11,gpiopin=N"},
	{[]string{"iio"}, "iio device", "/sys/bus/iio/devices/iio:device*", "the dtoverlay of the part"},
	{[]string{"pwm"}, "PWM chip", "/sys/class/pwm/pwmchip*", "dtoverlay=pwm"},
}

func busesCheck(_ context.Context, p *patient) []symptom {
	var found []symptom
	for _, n := range needs {
		files := p.there(n.files)
		used := p.uses(n.drivers)
		switch {
		case len(files) > 0:
			found = append(found, symptom{Health: healthy, Text: fmt.Sprintf("%s: %s", n.what, strings.Join(files, ", "))})
		case used != "":
			found = append(found, symptom{Health: ailing, Text: fmt.Sprintf("device %s needs an %s, and there is none", used, n.what),
				Cure: "put " + n.line + " into /boot/firmware/config.txt and reboot"})
		}
	}
	return found
}

// uses gives a device of the config with one of these drivers.
func (p *patient) uses(drivers []string) string {
	if p.config == nil {
		return ""
	}
	var names []string
	for name, d := range p.config.Devices {
		if slices.Contains(drivers, d.Driver) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return slices.Min(names)
}

// The bits of the firmware's get_throttled (Raspberry Pi documentation, vcgencmd): now,
// and since the boot.
const (
	underVoltageNow  = 1 << 0
	underVoltageOnce = 1 << 16
	throttledNow     = 1<<1 | 1<<2 | 1<<3
	throttledOnce    = throttledNow << 16
)

func powerCheck(_ context.Context, p *patient) []symptom {
	const supply = "use the supply of the board's maker and a short, thick cable; take what draws much off its USB"
	for _, file := range p.there("/sys/devices/platform/soc*/soc*:firmware/get_throttled") {
		bits, err := strconv.ParseUint(strings.TrimPrefix(p.text(strings.TrimPrefix(file, p.root)), "0x"), 16, 64)
		if err != nil {
			continue
		}
		switch {
		case bits&underVoltageNow != 0:
			return one(ailing, "the supply is below 4.63 V now: writes to the card may go wrong", supply)
		case bits&underVoltageOnce != 0:
			return one(notable, "the supply was below 4.63 V since the boot", supply)
		case bits&throttledNow != 0:
			return one(notable, "the board is throttled: it is too hot", "give it air")
		case bits&throttledOnce != 0:
			return one(notable, "the board was throttled since the boot: it was too hot", "give it air")
		}
		return one(healthy, "no under-voltage and no throttling since the boot", "")
	}
	for _, name := range p.there("/sys/class/hwmon/hwmon*/name") {
		if p.text(strings.TrimPrefix(name, p.root)) != "rpi_volt" {
			continue
		}
		if p.text(strings.TrimPrefix(filepath.Join(filepath.Dir(name), "in0_lcrit_alarm"), p.root)) == "1" {
			return one(ailing, "the supply is too low now: writes to the card may go wrong", supply)
		}
		return one(healthy, "no under-voltage now", "")
	}
	return one(healthy, "this board does not tell of its supply", "")
}

func logCheck(_ context.Context, p *patient) []symptom {
	if len(p.there("/run/systemd/system")) == 0 {
		return one(healthy, "there is no systemd: where the log goes is up to who starts the agent", "")
	}
	if len(p.there("/var/log/journal")) == 0 {
		return one(notable, "systemd's journal is in memory: what the agent logged before a power cut is gone after it; its events are not",
			"sudo mkdir -p /var/log/journal && sudo systemd-tmpfiles --create --prefix /var/log/journal, and sudo systemctl restart systemd-journald")
	}
	return one(healthy, "systemd's journal is on the disk", "")
}

func memoryCheck(_ context.Context, p *patient) []symptom {
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err != nil {
		return one(notable, "the memory can't be read: "+err.Error(), "")
	}
	total := bytesText(int64(uint64(si.Totalram) * uint64(si.Unit)))
	if controllers := p.text("/sys/fs/cgroup/cgroup.controllers"); controllers != "" && !slices.Contains(strings.Fields(controllers), "memory") {
		return one(notable, total+"; the memory cgroup is off, so the unit's MemoryMax bounds nothing: GOMEMLIMIT does",
			"to have it: cgroup_enable=memory in /boot/firmware/cmdline.txt")
	}
	return one(healthy, total, "")
}
