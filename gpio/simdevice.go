package gpio

import (
	"context"
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
	Noise     float64       `mapstructure:"noise"` // at most so much to either side
	Seed      uint64        `mapstructure:"seed"`
	Unit      string        `mapstructure:"unit"`
	Sampling  `mapstructure:",squash"`
}

func simDriver() Driver {
	return Driver{
		Name: "sim",
		Doc: "A sensor that is not there, for demos and tests: constant, sine, square, saw or walk around value, with amplitude, period and noise. " +
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
			return &sim{cfg: *cfg}, cfg.Sampling.check()
		},
	}
}

// sim is the device.
type sim struct{ cfg Sim }

var _ Device = (*sim)(nil)

// Run makes readings until ctx is done. Each run begins the series anew.
func (d *sim) Run(ctx context.Context, out *Outlet) error {
	g := generator{cfg: d.cfg, rnd: rand.New(rand.NewPCG(d.cfg.Seed, 0))}
	s := sampler{Sampling: d.cfg.Sampling, unit: d.cfg.Unit, read: func(context.Context) (reading, error) { return reading{value: g.next()}, nil }}
	return s.run(ctx, out)
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
