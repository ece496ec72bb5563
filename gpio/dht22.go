package gpio

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fieldpost/edge"
)

// DHT22 is the config of a dht22: a DHT22 (AM2302) or DHT11 on a line.
type DHT22 struct {
	Line     string `mapstructure:"dht22"` // auto, or the line: GPIO4
	Sampling `mapstructure:",squash"`
}

const (
	// The sensor needs 2 s between readings, and the kernel gives its last one for
	// 2 s (DHT11_DATA_VALID_TIME in drivers/iio/humidity/dht11.c).
	dht22Apart = 2100 * time.Millisecond
	dht22Tries = 3
	dht22Every = 10 * time.Second // the shortest: three readings must fit

	// The range of the AM2302's data sheet (Aosong, "Technical parameters"): °C.
	dht22Min = -40
	dht22Max = 80
)

func dht22Driver() Driver {
	return Driver{
		Name: "dht22",
		Doc: "A DHT22, AM2302 or DHT11 on a line that the kernel reads: config.txt needs dtoverlay=dht11,gpiopin=4, once for each sensor. " +
			"value is the temperature in °C, beside it humidity in %: the middle of three readings that are 2 s apart, without those that failed or can't be. " +
			"dht22: auto where there is one sensor, else its line, such as GPIO4.",
		Example: "cellar: {dht22: GPIO4, every: 60s, report: {delta: 0.2, heartbeat: 15m}}",
		Config: func() any {
			cfg := &DHT22{Line: "auto", Sampling: sampling(edge.Duration(time.Minute))}
			cfg.Accept = Accept{Min: dht22Min, Max: dht22Max}
			return cfg
		},
		New: func(env Env, v any) (Device, error) {
			cfg, err := options[DHT22](v)
			if err != nil {
				return nil, err
			}
			d := &dht22{env: env, root: tree(env.Root), cfg: *cfg, line: -1}
			if cfg.Line != "auto" {
				var pin edge.Pin
				if err := pin.UnmarshalText([]byte(cfg.Line)); err != nil {
					return nil, err
				}
				n, ok := pin.Number()
				if !ok {
					return nil, fmt.Errorf("dht22 %q: it is auto, or a line like GPIO4", cfg.Line)
				}
				d.line, d.pins = n, []edge.Pin{pin}
			}
			if cfg.Every > 0 && cfg.Every.D() < dht22Every {
				return nil, fmt.Errorf("every is %s: it must be at least %s, three readings 2 s apart make one", cfg.Every, edge.Duration(dht22Every))
			}
			return d, cfg.Sampling.check()
		},
	}
}

// dht22 is the device.
type dht22 struct {
	env  Env
	root tree
	cfg  DHT22
	line int // -1: any
	pins []edge.Pin
}

var _ Device = (*dht22)(nil)

// Pins is its line, where the config names it: the kernel holds it.
func (d *dht22) Pins() []edge.Pin { return d.pins }

// Run reads until ctx is done.
func (d *dht22) Run(ctx context.Context, out *Outlet) error {
	s := sampler{Sampling: d.cfg.Sampling, unit: "°C", read: d.read}
	return s.run(ctx, out)
}

// read takes three readings, and gives the middle of those that can be true.
func (d *dht22) read(ctx context.Context) (reading, error) {
	dir, err := d.find()
	if err != nil {
		return reading{}, err
	}
	files := d.env.Files("iio " + d.root.home(dir))
	var temps, hums []float64
	var why error
	odd := ""
	for n := range dht22Tries {
		if n > 0 {
			pause(ctx, dht22Apart)
		}
		t, h, err := d.once(ctx, files, dir)
		switch {
		case ctx.Err() != nil:
			return reading{}, ctx.Err()
		case err != nil && !passing(err):
			return reading{}, err
		case err != nil:
			why = err
		case t == 0 && h == 0 || t < dht22Min || t > dht22Max || h < 0 || h > 100:
			odd = fmt.Sprintf("is impossible: the sensor says %v °C and %v %%", t, h)
		default:
			temps, hums = append(temps, t), append(hums, h)
		}
	}
	switch {
	case len(temps) > 0:
		return reading{value: median(temps), more: []Field{{"humidity", number(median(hums))}}}, nil
	case odd != "":
		return reading{doubt: odd}, nil
	}
	return reading{}, fmt.Errorf("%w, %d times", why, dht22Tries)
}

// once takes one reading: the kernel has the humidity from the same one.
func (d *dht22) once(ctx context.Context, files *KernelFiles, dir string) (t, h float64, err error) {
	if t, err = iioValue(ctx, files, dir, "temp"); err != nil {
		return 0, 0, err
	}
	h, err = iioValue(ctx, files, dir, "humidityrelative")
	return t, h, err
}

// median is the middle one; of two, what is between them.
func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	return tidy((v[(n-1)/2] + v[n/2]) / 2)
}

// find gives the folder of the sensor. The device tree has its line: the gpios of its
// node are a phandle, the line and flags, of 32 bits each.
func (d *dht22) find() (string, error) {
	var found, all []string
	unknown := false
	for _, dir := range d.root.glob("sys/bus/iio/devices/iio:device*") {
		node := filepath.Join(dir, "of_node")
		if !strings.Contains(textOf(filepath.Join(dir, "name")), "dht11") && !strings.Contains(textOf(filepath.Join(node, "compatible")), "dht11") {
			continue
		}
		line, name := -1, "a line that the device tree does not tell"
		if gpios, err := os.ReadFile(filepath.Join(node, "gpios")); err == nil && len(gpios) >= 8 {
			line = int(binary.BigEndian.Uint32(gpios[4:]))
			name = lineName(line)
		}
		unknown = unknown || line < 0
		all = append(all, name)
		if d.line < 0 || d.line == line {
			found = append(found, dir)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("find the sensor: there are several, name one by its line: %s", strings.Join(all, ", "))
	case len(all) == 0:
		return "", absentError("find a dht11 below sys/bus/iio/devices, dtoverlay=dht11,gpiopin=4 in config.txt makes one", nil)
	case unknown:
		return "", absentError("find the sensor at "+d.cfg.Line, errors.New("the device tree does not tell the line: write dht22: auto where there is one sensor"))
	}
	return "", absentError("find the sensor at "+d.cfg.Line+", there is one at "+strings.Join(all, ", "), nil)
}
