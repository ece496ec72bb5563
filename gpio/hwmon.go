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

	"golang.org/x/sys/unix"

	"fieldpost/edge"
)

// Hwmon is the config of a hwmon: one input of a chip that the kernel's hardware
// monitoring knows.
type Hwmon struct {
	Chip     string `mapstructure:"hwmon"` // the chip's name, or a part of its path
	Input    string `mapstructure:"input"` // temp1, or the input's label
	Sampling `mapstructure:",squash"`
}

// hwmonKind is a kind of inputs: the kernel's integers divided by per are in unit.
type hwmonKind struct {
	name string
	per  float64
	unit string
	or   string // the item that is read where there is no input
}

// hwmonKinds are those of the kernel's Documentation/hwmon/sysfs-interface.rst: mV,
// m°C, mA, uW, uJ, milli-percent and revolutions a minute.
var hwmonKinds = []hwmonKind{
	{name: "temp", per: 1e3, unit: "°C"},
	{name: "in", per: 1e3, unit: "V"},
	{name: "fan", per: 1, unit: "rpm"},
	{name: "curr", per: 1e3, unit: "A"},
	{name: "power", per: 1e6, unit: "W", or: "average"},
	{name: "energy", per: 1e6, unit: "J"},
	{name: "humidity", per: 1e3, unit: "%"},
}

func hwmonDriver() Driver {
	return Driver{
		Name: "hwmon",
		Doc: "An input of a chip that the kernel's hardware monitoring reads: a temperature in °C, a voltage in V, a fan in rpm, a current in A, a power in W, an energy in J or a humidity in %. " +
			"hwmon: the chip's name as /sys/class/hwmon/*/name has it, or a part of its path where there are several of that name; its number may change. " +
			"input: temp1, in0, fan1 and so on, or the input's label.",
		Example: "case: {hwmon: lm75, input: temp1, every: 30s, report: {delta: 0.5, heartbeat: 15m}}",
		Config:  func() any { return &Hwmon{Input: "temp1", Sampling: sampling(edge.Duration(30 * time.Second))} },
		New: func(env Env, v any) (Device, error) {
			cfg, err := options[Hwmon](v)
			if err != nil {
				return nil, err
			}
			if cfg.Chip == "" || cfg.Input == "" {
				return nil, errors.New("hwmon and input must not be empty: name a chip, and an input like temp1")
			}
			return &hwmon{env: env, root: tree(env.Root), cfg: *cfg}, cfg.Sampling.check()
		},
	}
}

// hwmon is the device.
type hwmon struct {
	env  Env
	root tree
	cfg  Hwmon
}

var _ Device = (*hwmon)(nil)

// Run reads until ctx is done.
func (d *hwmon) Run(ctx context.Context, out *Outlet) error {
	in, err := d.find()
	if err != nil {
		return err
	}
	s := sampler{Sampling: d.cfg.Sampling, unit: in.kind.unit, read: d.read}
	return s.run(ctx, out)
}

// hwmonInput is an input of a chip that is there.
type hwmonInput struct {
	kind  hwmonKind
	base  string // the path of its files up to the _
	label string
}

// read takes one reading. The chip is looked for each time: one that came late may
// have the number of one that went.
func (d *hwmon) read(ctx context.Context) (reading, error) {
	in, err := d.find()
	if err != nil {
		return reading{}, err
	}
	files := d.env.Files("hwmon " + d.root.home(filepath.Dir(in.base)))
	v, err := files.Number(ctx, in.base+"_input")
	if errors.Is(err, fs.ErrNotExist) && in.kind.or != "" {
		v, err = files.Number(ctx, in.base+"_"+in.kind.or)
	}
	if errors.Is(err, unix.ENODATA) {
		return reading{}, fmt.Errorf("%w: the input is switched off, %s_enable turns it on", err, in.base)
	}
	if err != nil {
		return reading{}, err
	}
	r := reading{value: v / in.kind.per}
	if in.label != "" {
		r.more = []Field{{"label", quote(in.label)}}
	}
	switch fault, err := files.Read(ctx, in.base+"_fault"); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return reading{}, err
	case fault == "1":
		r.doubt = "is of a sensor that the chip calls broken or not connected"
	}
	return r, nil
}

// find gives the input. Old chips have their files in the device's own folder.
func (d *hwmon) find() (hwmonInput, error) {
	chip, err := d.root.pick("hwmon chip", d.cfg.Chip, d.root.glob("sys/class/hwmon/hwmon*"), "name", "device/name")
	if err != nil {
		return hwmonInput{}, err
	}
	var all []string
	for _, dir := range []string{chip, filepath.Join(chip, "device")} {
		for _, in := range inputsOf(dir) {
			name := filepath.Base(in.base)
			if name == d.cfg.Input || in.label != "" && in.label == d.cfg.Input {
				return in, nil
			}
			if in.label != "" {
				name += fmt.Sprintf(" (%s)", in.label)
			}
			all = append(all, name)
		}
	}
	what := fmt.Sprintf("find input %s of hwmon chip %s", d.cfg.Input, d.cfg.Chip)
	if len(all) > 0 {
		what += ", it has " + strings.Join(all, ", ")
	}
	return hwmonInput{}, absentError(what, nil)
}

// inputsOf lists the inputs in a folder.
func inputsOf(dir string) (all []hwmonInput) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		base, item, _ := strings.Cut(e.Name(), "_")
		kind, ok := hwmonKindOf(base)
		if !ok || item != "input" && (item != kind.or || item == "") {
			continue
		}
		base = filepath.Join(dir, base)
		all = append(all, hwmonInput{kind, base, textOf(base + "_label")})
	}
	return all
}

// hwmonKindOf is the kind of an input's name, as temp of temp1.
func hwmonKindOf(input string) (hwmonKind, bool) {
	name := strings.TrimRight(input, "0123456789")
	for _, k := range hwmonKinds {
		if k.name == name && len(input) > len(name) {
			return k, true
		}
	}
	return hwmonKind{}, false
}
