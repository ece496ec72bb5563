package gpio

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// SimSensor is how the sensors of a twin behave: a day's sine, noise around it, and
// what such sensors do now and then. The zero one is an ideal sensor at 0.
type SimSensor struct {
	Value     float64       // the middle, °C
	Amplitude float64       // to either side, over Period
	Period    time.Duration // 0: a day
	Noise     float64       // at most so much to either side, °C
	Dropout   float64       // the share of readings that fail: 0.01 is one in a hundred
	Spikes    float64       // the share of resets, after which a DS18B20 says 85 °C until it converts
}

// UsualSensor is a sensor on a long cable.
func UsualSensor() SimSensor {
	return SimSensor{Value: 20, Amplitude: 5, Noise: 0.1, Dropout: 0.005, Spikes: 0.002}
}

// w1Resolution is a step of a DS18B20 at its 12 bits, °C.
const w1Resolution = 0.0625

// simW1 is a DS18B20 on the twin's 1-wire bus, as the kernel shows it.
type simW1 struct {
	of   SimSensor
	mono func() int64

	mu    sync.Mutex
	rnd   *rand.Rand
	gone  int // so many reads still get no answer: all of one reading
	reset int // so many conversions still give the value of power-on
}

// equip gives a device the part that its driver reads, where the twin has one. A part
// that it has not is absent, as on a board that it is not wired to.
func (t *Twin) equip(spec Spec, env *Env) error {
	cfg, ok := spec.Options.(*DS18B20)
	id := ""
	if ok {
		id = strings.ToLower(cfg.ID)
	}
	if id != "auto" && !isW1ID(id) {
		return nil // another driver, or what this one will refuse
	}
	if t.dir == "" {
		dir, err := os.MkdirTemp("", "fieldpost-twin-")
		if err != nil {
			return fmt.Errorf("make the simulated sysfs: %w", err)
		}
		t.dir = dir
	}
	rnd := Stream(t.opt.Seed, "sensor "+spec.Name)
	if id == "auto" {
		id = fmt.Sprintf("28-%012x", rnd.Uint64()&(1<<48-1))
	}
	root := filepath.Join(t.dir, spec.Name, id) // each sensor has a bus, so that auto finds the one
	if err := layW1(root, id); err != nil {
		return fmt.Errorf("make the simulated 1-wire bus: %w", err)
	}
	mono := t.opt.Mono
	if mono == nil {
		mono = kernelMono
	}
	part := &simW1{of: t.opt.Sensor, mono: mono, rnd: rnd}
	bus := newBuses(Buses{}, Files{Read: part.read}) // of its own
	env.Root, env.Files = root, func(name string) *KernelFiles { return bus.kernelFiles(name, spec.Name) }
	return nil
}

// layW1 makes a folder as the kernel has one for a bus with a sensor. One that is there
// stays: another config of the device may find the same sensor, and be refused.
func layW1(root, id string) error {
	devices := filepath.Join(root, "sys/bus/w1/devices")
	sensor := filepath.Join(root, "sys/devices/w1_bus_master1", id)
	for _, dir := range []string{devices, sensor} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(filepath.Join(sensor, "temperature"), os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	_ = file.Close() // nothing was written
	for name, to := range map[string]string{"w1_bus_master1": "../../../devices/w1_bus_master1", id: "../../../devices/w1_bus_master1/" + id} {
		if err := os.Symlink(to, filepath.Join(devices, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// read is a read of temperature: a conversion, in m°C. The kernel gives nothing where
// the sensor did not answer, or its checksum was wrong five times.
func (s *simW1) read(string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	drop, spike, noise := s.rnd.Float64(), s.rnd.Float64(), 2*s.rnd.Float64()-1
	if s.reset == 0 && spike < s.of.Spikes {
		s.reset = 2 // its supply is gone for a moment: the next conversion fails as well
	}
	if s.gone == 0 && drop < s.of.Dropout {
		s.gone = fileTries
	}
	switch {
	case s.gone > 0:
		s.gone--
		return "", nil
	case s.reset > 0:
		s.reset--
		return strconv.Itoa(powerOn * 1000), nil
	}
	period := s.of.Period
	if period <= 0 {
		period = 24 * time.Hour
	}
	v := s.of.Value + s.of.Amplitude*math.Sin(2*math.Pi*float64(s.mono()%int64(period))/float64(period)) + s.of.Noise*noise
	return strconv.Itoa(int(math.Round(v/w1Resolution) * w1Resolution * 1000)), nil
}
