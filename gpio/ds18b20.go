package gpio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fieldpost/edge"
)

// DS18B20 is the config of a ds18b20: a thermometer on a 1-wire bus.
type DS18B20 struct {
	ID       string `mapstructure:"ds18b20"` // auto, or the sensor's id: 28-0316a2794fff
	Sampling `mapstructure:",squash"`
}

// From the DS18B20's data sheet (Maxim 19-7487, table 1 and "Operation").
const (
	ds18b20Min = -55 // °C
	ds18b20Max = 125
	powerOn    = 85 // what the register holds before the first conversion

	// A true 85 °C comes from somewhere: the reading before it was that near.
	powerOnNear = 5
)

// w1Families are the families of thermometers that the kernel's w1_therm reads
// (Documentation/w1/slaves/w1_therm.rst): DS18S20, DS1822, DS18B20, DS1825, DS28EA00.
var w1Families = []string{"10", "22", "28", "3b", "42"}

func ds18b20Driver() Driver {
	return Driver{
		Name: "ds18b20",
		Doc: "A DS18B20 thermometer on the kernel's 1-wire bus, which dtoverlay=w1-gpio in config.txt turns on: value is the temperature in °C. " +
			"ds18b20: auto where there is one, else its id as /sys/bus/w1/devices lists it, such as 28-0316a2794fff; by id the kernel's other thermometers work too. " +
			"85 °C, which is what a sensor says that lost its supply, is taken only where the reading before was within 5 °C of it.",
		Example: "soil: {ds18b20: auto, every: 60s, accept: {min: -40, max: 80}, report: {delta: 0.1, heartbeat: 15m}}",
		Config: func() any {
			cfg := &DS18B20{ID: "auto", Sampling: sampling(edge.Duration(time.Minute))}
			cfg.Accept = Accept{Min: ds18b20Min, Max: ds18b20Max}
			return cfg
		},
		New: func(env Env, v any) (Device, error) {
			cfg, err := options[DS18B20](v)
			if err != nil {
				return nil, err
			}
			d := &ds18b20{env: env, root: tree(env.Root), cfg: *cfg}
			d.cfg.ID = strings.ToLower(cfg.ID)
			if d.cfg.ID != "auto" && !isW1ID(d.cfg.ID) {
				return nil, fmt.Errorf("ds18b20 %q: it is auto, or an id like 28-0316a2794fff", cfg.ID)
			}
			return d, cfg.Sampling.check()
		},
	}
}

// isW1ID reports whether a text is a thermometer's id: the family, and 48 bits.
func isW1ID(id string) bool {
	family, serial, ok := strings.Cut(id, "-")
	return ok && slices.Contains(w1Families, family) && len(serial) == 12 && strings.Trim(serial, "0123456789abcdef") == ""
}

// ds18b20 is the device.
type ds18b20 struct {
	env  Env
	root tree
	cfg  DS18B20

	last float64 // the last true reading of this run
	good bool    // there is one
}

var _ Device = (*ds18b20)(nil)

// Run reads until ctx is done.
func (d *ds18b20) Run(ctx context.Context, out *Outlet) error {
	dir, err := d.find()
	if err != nil {
		return err
	}
	d.good = false
	// The sensor is below its bus: w1_bus_master1. All of one bus take turns, in the
	// kernel too, where nobody could tell who waits for whom.
	files := d.env.Files("1-wire bus " + filepath.Base(d.root.home(dir)))
	s := sampler{Sampling: d.cfg.Sampling, unit: "°C", read: func(ctx context.Context) (reading, error) { return d.read(ctx, files, dir) }}
	return s.run(ctx, out)
}

// find gives the sensor's folder.
func (d *ds18b20) find() (string, error) {
	pattern := d.cfg.ID
	if pattern == "auto" {
		pattern = "28-*"
	}
	found := d.root.glob("sys/bus/w1/devices/" + pattern)
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		ids := make([]string, len(found))
		for i, dir := range found {
			ids[i] = filepath.Base(dir)
		}
		return "", fmt.Errorf("find the DS18B20: there are several, name one by its id: %s", strings.Join(ids, ", "))
	case len(d.root.glob("sys/bus/w1/devices/w1_bus_master*")) == 0:
		return "", absentError("find 1-wire bus below sys/bus/w1/devices, dtoverlay=w1-gpio in config.txt turns it on", nil)
	}
	return "", absentError("find sensor "+pattern+" below sys/bus/w1/devices", nil)
}

// read takes one reading.
func (d *ds18b20) read(ctx context.Context, files *KernelFiles, dir string) (reading, error) {
	v, err := d.celsius(ctx, files, dir)
	if err == nil && v == powerOn && !d.near(v) {
		if v, err = d.celsius(ctx, files, dir); err == nil && v == powerOn {
			return reading{value: v, doubt: "is what a sensor says before its first conversion: its supply may be weak"}, nil
		}
	}
	if err != nil {
		return reading{}, err
	}
	d.last, d.good = v, true
	return reading{value: v}, nil
}

// near reports whether the reading before makes this one plausible.
func (d *ds18b20) near(v float64) bool { return d.good && math.Abs(v-d.last) <= powerOnNear }

// celsius asks the sensor, again where it did not answer: the kernel gives an empty
// file then. Each read is a conversion, and takes 750 ms.
func (d *ds18b20) celsius(ctx context.Context, files *KernelFiles, dir string) (float64, error) {
	file, parse := filepath.Join(dir, "temperature"), numberIn
	if _, err := os.Stat(file); err != nil { // before Linux 5.10 there is only the other
		file, parse = filepath.Join(dir, "w1_slave"), scratchpadIn
	}
	milli, err := tries(ctx, 0, func() (float64, error) {
		text, err := files.Read(ctx, file)
		if err != nil {
			return 0, err
		}
		return parse(file, text)
	})
	return milli / 1000, err
}

// scratchpadIn is the temperature in m°C that w1_slave has. Its first line has the
// nine bytes that were read and whether their checksum is right, its second ends with t=.
func scratchpadIn(file, text string) (float64, error) {
	if text == "" {
		return numberIn(file, text)
	}
	first, second, _ := strings.Cut(text, "\n")
	switch {
	case strings.HasSuffix(strings.TrimSpace(first), "NO"):
		return 0, fmt.Errorf("read %s: %w", file, errChecksum)
	case strings.HasPrefix(first, strings.Repeat("00 ", 9)):
		// Nine times zero has the right checksum; no sensor has that.
		return 0, fmt.Errorf("read %s: %w", file, errors.New("all that it reads is 0: the data line may be shorted to ground"))
	}
	_, t, ok := strings.Cut(second, "t=")
	if !ok || !strings.HasSuffix(strings.TrimSpace(first), "YES") {
		return 0, fmt.Errorf("read %s: it has no temperature: %.80q", file, text)
	}
	return numberIn(file, strings.TrimSpace(t))
}
