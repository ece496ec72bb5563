package gpio

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"fieldpost/edge"
)

// CPU is the config of a cpu: the board's own temperature, load and memory.
type CPU struct {
	Sensor   string `mapstructure:"cpu"` // auto, or a part of the sensor's name
	Sampling `mapstructure:",squash"`
}

// The bits of the firmware's get_throttled (Raspberry Pi documentation, vcgencmd).
const (
	throttledUnderVoltage = 1 << 0
	throttledCapped       = 1 << 1
	throttledNow          = 1 << 2
)

func cpuDriver() Driver {
	return Driver{
		Name: "cpu",
		Doc: "The board itself: value is the temperature in °C, beside it load (one minute), memory in bytes, and, where the board tells, throttled and undervoltage. " +
			"cpu: auto, or a part of the sensor's name where there are several.",
		Example: "board: {cpu: auto, every: 30s, report: {delta: 0.5, heartbeat: 15m}}",
		Config:  func() any { return &CPU{Sensor: "auto", Sampling: sampling(edge.Duration(30 * time.Second))} },
		New: func(env Env, v any) (Device, error) {
			cfg, err := options[CPU](v)
			if err != nil {
				return nil, err
			}
			return &cpu{root: tree(env.Root), cfg: *cfg}, cfg.Sampling.check()
		},
	}
}

// cpu is the device.
type cpu struct {
	root tree
	cfg  CPU
}

var _ Device = (*cpu)(nil)

// Run reads until ctx is done.
func (d *cpu) Run(ctx context.Context, out *Outlet) error {
	sensor := d.find()
	if sensor == "" {
		return absentError(fmt.Sprintf("find temperature sensor %q below sys/class/thermal and sys/class/hwmon", d.cfg.Sensor), nil)
	}
	s := sampler{Sampling: d.cfg.Sampling, unit: "°C", read: func(context.Context) (reading, error) { return d.read(sensor) }}
	return s.run(ctx, out)
}

// find gives the file of the temperature: a thermal zone, else a hwmon sensor,
// those of the CPU first.
func (d *cpu) find() string {
	best, rank := "", 0
	consider := func(nameFile, tempFile string) {
		name := textOf(nameFile)
		r := 1
		if strings.Contains(name, "cpu") || strings.Contains(name, "core") || strings.Contains(name, "k10temp") || strings.Contains(name, "x86_pkg") {
			r = 2
		}
		if d.cfg.Sensor != "auto" && !strings.Contains(name, d.cfg.Sensor) {
			return
		}
		if _, err := readNumber(tempFile); err == nil && r > rank {
			best, rank = tempFile, r
		}
	}
	for _, zone := range d.root.glob("sys/class/thermal/thermal_zone*") {
		consider(filepath.Join(zone, "type"), filepath.Join(zone, "temp"))
	}
	for _, hwmon := range d.root.glob("sys/class/hwmon/hwmon*") {
		consider(filepath.Join(hwmon, "name"), filepath.Join(hwmon, "temp1_input"))
	}
	return best
}

// read takes all readings; only the temperature must be there.
func (d *cpu) read(sensor string) (reading, error) {
	milli, err := readNumber(sensor)
	if err != nil {
		return reading{}, fmt.Errorf("read temperature: %w", err)
	}
	r := reading{value: float64(milli) / 1000}
	if f := strings.Fields(textOf(d.root.path("proc/loadavg"))); len(f) > 0 {
		if load, err := strconv.ParseFloat(f[0], 64); err == nil {
			r.more = append(r.more, Field{"load", number(load)})
		}
	}
	if total, available := d.memory(); total > 0 {
		r.more = append(r.more, Field{"memory", fmt.Appendf(nil, `{"total":%d,"available":%d}`, total, available)})
	}
	return d.power(r), nil
}

// memory is /proc/meminfo in bytes; 0 where it says nothing.
func (d *cpu) memory() (total, available uint64) {
	for line := range strings.Lines(textOf(d.root.path("proc/meminfo"))) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseUint(f[1], 10, 54) // 0 where it is no number
		switch f[0] {
		case "MemTotal:":
			total = kb << 10
		case "MemAvailable:":
			available = kb << 10
		}
	}
	return total, available
}

// power adds what a Pi tells of its supply: the firmware's own word, else the
// alarm of the kernel's rpi_volt.
func (d *cpu) power(r reading) reading {
	for _, file := range d.root.glob("sys/devices/platform/soc*/soc*:firmware/get_throttled") {
		bits, err := strconv.ParseUint(strings.TrimPrefix(textOf(file), "0x"), 16, 64)
		if err == nil {
			r.more = append(r.more, Field{"throttled", boolean(bits&(throttledNow|throttledCapped) != 0)},
				Field{"undervoltage", boolean(bits&throttledUnderVoltage != 0)})
			return r
		}
	}
	for _, hwmon := range d.root.glob("sys/class/hwmon/hwmon*") {
		if textOf(filepath.Join(hwmon, "name")) != "rpi_volt" {
			continue
		}
		if alarm, err := readNumber(filepath.Join(hwmon, "in0_lcrit_alarm")); err == nil {
			r.more = append(r.more, Field{"undervoltage", boolean(alarm != 0)})
		}
	}
	return r
}
