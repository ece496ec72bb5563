package gpio

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fieldpost/edge"
)

// IIO is the config of an iio: one channel of a sensor that the kernel's industrial
// I/O reads.
type IIO struct {
	Name     string `mapstructure:"iio"`     // the device's name or label, or a part of its path
	Channel  string `mapstructure:"channel"` // temp, humidityrelative, voltage0 ...
	Sampling `mapstructure:",squash"`
}

// iioApart is how far apart tries are: a DHT sensor that is asked again within 2 s
// does not answer either.
const iioApart = 2 * time.Second

// iioKind is a kind of channels: what the kernel gives, divided by per, is in unit.
type iioKind struct {
	name string
	per  float64
	unit string
}

// iioKinds have the units of the kernel's Documentation/ABI/testing/sysfs-bus-iio:
// m°C, milli-percent, kPa, mV, mA, mW, nF and so on. A kind that is not here has no unit.
var iioKinds = []iioKind{
	{"temp", 1e3, "°C"},
	{"humidityrelative", 1e3, "%"},
	{"pressure", 0.1, "hPa"},
	{"voltage", 1e3, "V"},
	{"current", 1e3, "A"},
	{"power", 1e3, "W"},
	{"energy", 1, "J"},
	{"resistance", 1, "Ω"},
	{"capacitance", 1, "nF"},
	{"illuminance", 1, "lx"},
	{"distance", 1, "m"},
	{"concentration", 1, "%"},
	{"massconcentration", 1, "µg/m³"},
	{"electricalconductivity", 1, "S/m"},
	{"ph", 1, "pH"},
	{"accel", 1, "m/s²"},
	{"gravity", 1, "m/s²"},
	{"anglvel", 1, "rad/s"},
	{"angl", 1, "rad"},
	{"incli", 1, "°"},
	{"magn", 1, "G"},
	{"velocity", 1, "m/s"},
	{"positionrelative", 1e3, "%"},
}

func iioDriver() Driver {
	return Driver{
		Name: "iio",
		Doc: "One channel of a sensor that the kernel's industrial I/O reads, such as a bmp280, an ADC or a light sensor with its own overlay. " +
			"iio: the device's name or label as /sys/bus/iio/devices/*/name has it, or a part of its path where there are several of that name. " +
			"channel: temp in °C, humidityrelative in %, pressure in hPa, voltage0 in V, current0 in A, illuminance in lx and so on, as the files in_temp_input or in_voltage0_raw name them.",
		Example: "outside: {iio: bmp280, channel: pressure, every: 30s, accept: {min: 800, max: 1100}}",
		Config:  func() any { return &IIO{Channel: "temp", Sampling: sampling(edge.Duration(30 * time.Second))} },
		New: func(env Env, v any) (Device, error) {
			cfg, err := options[IIO](v)
			if err != nil {
				return nil, err
			}
			if cfg.Name == "" {
				return nil, errors.New("iio is empty: name a device such as bmp280")
			}
			if cfg.Channel == "" || strings.Contains(cfg.Channel, "/") {
				return nil, fmt.Errorf("channel %q: it is like temp or voltage0", cfg.Channel)
			}
			return &iio{env: env, root: tree(env.Root), cfg: *cfg}, cfg.Sampling.check()
		},
	}
}

// iio is the device.
type iio struct {
	env  Env
	root tree
	cfg  IIO
}

var _ Device = (*iio)(nil)

// Run reads until ctx is done.
func (d *iio) Run(ctx context.Context, out *Outlet) error {
	s := sampler{Sampling: d.cfg.Sampling, unit: iioKindOf(d.cfg.Channel).unit, read: d.read}
	return s.run(ctx, out)
}

// read takes one reading. The device is looked for each time: its number may be
// another's by now.
func (d *iio) read(ctx context.Context) (reading, error) {
	dir, err := d.root.pick("iio device", d.cfg.Name, d.root.glob("sys/bus/iio/devices/iio:device*"), "name", "label")
	if err != nil {
		return reading{}, err
	}
	files := d.env.Files("iio " + d.root.home(dir))
	v, err := tries(ctx, iioApart, func() (float64, error) { return iioValue(ctx, files, dir, d.cfg.Channel) })
	return reading{value: v}, err
}

// iioValue reads a channel: its processed value, else (raw + offset) * scale.
func iioValue(ctx context.Context, files *KernelFiles, dir, channel string) (float64, error) {
	kind := iioKindOf(channel)
	v, err := files.number(ctx, filepath.Join(dir, "in_"+channel+"_input"))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return tidy(v / kind.per), err
	}
	v, err = files.number(ctx, filepath.Join(dir, "in_"+channel+"_raw"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, absentError(fmt.Sprintf("find channel %s of %s, it has %s", channel, dir, channelsOf(dir)), fs.ErrNotExist)
	}
	if err != nil {
		return 0, err
	}
	offset, err := iioAttribute(ctx, files, dir, channel, "offset", 0)
	if err != nil {
		return 0, err
	}
	scale, err := iioAttribute(ctx, files, dir, channel, "scale", 1)
	return tidy((v + offset) * scale / kind.per), err
}

// iioAttribute reads the offset or the scale of a channel. One that all channels of a
// kind share has neither their number nor their axis in its name.
func iioAttribute(ctx context.Context, files *KernelFiles, dir, channel, attr string, none float64) (float64, error) {
	noNumber := strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' {
			return -1
		}
		return c
	}, channel)
	for _, name := range []string{channel, noNumber, baseOf(channel)} {
		v, err := files.number(ctx, filepath.Join(dir, "in_"+name+"_"+attr))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return v, err
		}
	}
	return none, nil
}

// baseOf is the kind's name in a channel's: voltage of voltage0-voltage1.
func baseOf(channel string) string {
	if i := strings.IndexFunc(channel, func(c rune) bool { return c < 'a' || c > 'z' }); i >= 0 {
		return channel[:i]
	}
	return channel
}

// iioKindOf is the kind of a channel.
func iioKindOf(channel string) iioKind {
	base := baseOf(channel)
	for _, k := range iioKinds {
		if k.name == base {
			return k
		}
	}
	return iioKind{name: base, per: 1}
}

// channelsOf names the channels of a device.
func channelsOf(dir string) string {
	var all []string
	entries, _ := os.ReadDir(dir) // none where it is gone
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), "in_")
		if i := strings.LastIndexByte(name, '_'); ok && i > 0 && (name[i:] == "_input" || name[i:] == "_raw") {
			all = append(all, name[:i])
		}
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}
