package gpio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"fieldpost/edge"
)

// Shape is the form of a simulated sensor's readings.
type Shape string

// The shapes.
const (
	ShapeConstant Shape = "constant"
	ShapeSine     Shape = "sine"
	ShapeSquare   Shape = "square"
	ShapeSaw      Shape = "saw"
	ShapeWalk     Shape = "walk" // a random walk, held within the amplitude
)

// MarshalText gives the config's word.
func (s Shape) MarshalText() ([]byte, error) { return []byte(s), nil }

// UnmarshalText reads the config's word.
func (s *Shape) UnmarshalText(b []byte) error {
	switch v := Shape(strings.ToLower(string(b))); v {
	case ShapeConstant, ShapeSine, ShapeSquare, ShapeSaw, ShapeWalk:
		*s = v
		return nil
	}
	return fmt.Errorf("sim %q: it is constant, sine, square, saw or walk", b)
}

// Sim is the config of a sim: a sensor that is not there.
type Sim struct {
	Shape     Shape         `mapstructure:"sim"`
	Value     float64       `mapstructure:"value"` // the middle
	Amplitude float64       `mapstructure:"amplitude"`
	Period    edge.Duration `mapstructure:"period"`
	Noise     float64       `mapstructure:"noise"`   // at most so much to either side
	Dropout   float64       `mapstructure:"dropout"` // the share of readings that fail, 0 to 1
	Spike     *float64      `mapstructure:"spike"`   // what it says wrongly now and then; nil: nothing
	Spikes    float64       `mapstructure:"spikes"`  // the share of readings that are that, 0 to 1
	Seed      uint64        `mapstructure:"seed"`
	Unit      string        `mapstructure:"unit"`
	Sampling  `mapstructure:",squash"`
}

func simDriver() Driver {
	return Driver{
		Name: "sim",
		Doc: "A sensor that is not there, for demos and tests: constant, sine, square, saw or walk around value, with amplitude, period and noise. " +
			"dropout is the share of readings that fail, 0.01 is one in a hundred; spike is what it says wrongly now and then, as a DS18B20 says 85 after a dip of its supply, " +
			"and spikes the share of such readings, one in a hundred unless it is given. " +
			"The same seed gives the same readings, one after the other.",
		Example: "air: {sim: sine, value: 21, amplitude: 3, period: 10m, noise: 0.2, seed: 7, unit: \"°C\", every: 5s}",
		Config: func() any {
			return &Sim{Shape: ShapeSine, Amplitude: 1, Period: edge.Duration(time.Minute), Seed: 1, Sampling: sampling(edge.Duration(10 * time.Second))}
		},
		New: func(env Env, v any) (Device, error) {
			cfg, err := options[Sim](v)
			if err != nil {
				return nil, err
			}
			if cfg.Period <= 0 {
				return nil, fmt.Errorf("period is %s: it must be more than 0", cfg.Period)
			}
			if !(cfg.Amplitude >= 0 && cfg.Noise >= 0) {
				return nil, fmt.Errorf("amplitude %v and noise %v must not be negative", cfg.Amplitude, cfg.Noise)
			}
			if !share(cfg.Dropout) || !share(cfg.Spikes) {
				return nil, fmt.Errorf("dropout %v and spikes %v are shares of all readings: 0 to 1", cfg.Dropout, cfg.Spikes)
			}
			return newSim(*cfg, env.Chance), cfg.Sampling.check()
		},
	}
}

// share reports whether a number is a share of the whole.
func share(v float64) bool { return v >= 0 && v <= 1 }

// sim is the device.
type sim struct {
	cfg   Sim
	seed  uint64     // beside the config's own: the twin's
	fails *rand.Rand // goes on over runs: each failure ends one
}

var _ Device = (*sim)(nil)

// errNoAnswer is a reading that fails.
var errNoAnswer = errors.New("the simulated sensor did not answer")

func newSim(cfg Sim, chance *rand.Rand) *sim {
	d := &sim{cfg: cfg}
	if chance != nil {
		d.seed = chance.Uint64()
	}
	if cfg.Spike != nil && cfg.Spikes == 0 {
		d.cfg.Spikes = 0.01
	}
	d.fails = rand.New(rand.NewPCG(cfg.Seed, ^d.seed))
	return d
}

// Run makes readings until ctx is done. Each run begins the series anew.
func (d *sim) Run(ctx context.Context, out *Outlet) error {
	g := generator{cfg: d.cfg, rnd: rand.New(rand.NewPCG(d.cfg.Seed, d.seed))}
	s := sampler{Sampling: d.cfg.Sampling, unit: d.cfg.Unit, read: func(context.Context) (reading, error) { return d.read(&g) }}
	return s.run(ctx, out)
}

// read is the next reading, with what goes wrong.
func (d *sim) read(g *generator) (reading, error) {
	v := g.next()
	if d.cfg.Dropout > 0 && d.fails.Float64() < d.cfg.Dropout {
		return reading{}, errNoAnswer
	}
	if d.cfg.Spike != nil && d.fails.Float64() < d.cfg.Spikes {
		v = *d.cfg.Spike
	}
	return reading{value: v}, nil
}

// generator gives a series of readings. The time in it is that of the schedule,
// so that a late tick changes nothing.
type generator struct {
	cfg  Sim
	rnd  *rand.Rand
	n    float64
	walk float64
}

// next is the next reading, to three decimals.
func (g *generator) next() float64 {
	_, phase := math.Modf(g.n * float64(g.cfg.Every) / float64(g.cfg.Period))
	g.n++
	var v float64 // -1 to 1
	switch g.cfg.Shape {
	case ShapeSine:
		v = math.Sin(2 * math.Pi * phase)
	case ShapeSquare:
		v = 1
		if phase >= 0.5 {
			v = -1
		}
	case ShapeSaw:
		v = 2*phase - 1
	case ShapeWalk:
		g.walk = max(-1, min(1, g.walk+(g.rnd.Float64()-0.5)/5))
		v = g.walk
	}
	noise := g.cfg.Noise * (2*g.rnd.Float64() - 1)
	return math.Round((g.cfg.Value+g.cfg.Amplitude*v+noise)*1000) / 1000
}
