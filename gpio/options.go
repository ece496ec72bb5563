package gpio

import (
	"fmt"
	"math"
	"strings"

	"fieldpost/edge"
)

// Pull is a bias in the config: up, down, off, or none to leave it as it is.
type Pull Bias

// MarshalText gives the config's word.
func (p Pull) MarshalText() ([]byte, error) {
	return []byte([...]string{"none", "off", "up", "down"}[p&3]), nil
}

// UnmarshalText reads the config's word.
func (p *Pull) UnmarshalText(b []byte) error {
	switch strings.ToLower(string(b)) {
	case "none":
		*p = Pull(BiasAsIs)
	case "off", "float":
		*p = Pull(BiasOff)
	case "up":
		*p = Pull(BiasUp)
	case "down":
		*p = Pull(BiasDown)
	default:
		return fmt.Errorf("pull %q: it is up, down, off or none", b)
	}
	return nil
}

// Rest is what an output does at boot and at stop: off, on, hold or last.
type Rest string

// The rests.
const (
	RestOff  Rest = "off"
	RestOn   Rest = "on"
	RestHold Rest = "hold" // the line stays as it is
	RestLast Rest = "last" // what was commanded last
)

// MarshalText gives the config's word.
func (r Rest) MarshalText() ([]byte, error) { return []byte(r), nil }

// UnmarshalText reads the config's word.
func (r *Rest) UnmarshalText(b []byte) error {
	switch v := Rest(strings.ToLower(string(b))); v {
	case RestOff, RestOn, RestHold, RestLast:
		*r = v
		return nil
	}
	return fmt.Errorf("%q: it is off, on, hold or last", b)
}

// Edges are the edges that a counter counts: rising, falling or both.
type Edges EdgeMask

// MarshalText gives the config's word.
func (e Edges) MarshalText() ([]byte, error) {
	return []byte([...]string{"none", "rising", "falling", "both"}[e&3]), nil
}

// UnmarshalText reads the config's word.
func (e *Edges) UnmarshalText(b []byte) error {
	switch strings.ToLower(string(b)) {
	case "rising":
		*e = Edges(Rising)
	case "falling":
		*e = Edges(Falling)
	case "both":
		*e = Edges(Both)
	default:
		return fmt.Errorf("edge %q: it is rising, falling or both", b)
	}
	return nil
}

// States are the words for the two levels of a device.
type States struct {
	On  string `mapstructure:"on"`
	Off string `mapstructure:"off"`
}

// of is the word for a level.
func (s States) of(v bool) string {
	if v {
		return s.On
	}
	return s.Off
}

// Accept bounds what a reading may plausibly be, both ends included.
type Accept struct {
	Min float64 `mapstructure:"min"`
	Max float64 `mapstructure:"max"`
}

// Reporting thins readings out. The zero one reports each reading.
type Reporting struct {
	Delta     float64       `mapstructure:"delta"`     // report a change of at least this
	Heartbeat edge.Duration `mapstructure:"heartbeat"` // and at least this often; 0: no
}

// Sampling is what all drivers that read on a schedule have.
type Sampling struct {
	Every  edge.Duration `mapstructure:"every"`
	Accept Accept        `mapstructure:"accept"`
	Report Reporting     `mapstructure:"report"`
}

// sampled is the sampling of a driver's config that has one.
func (s Sampling) sampled() Sampling { return s }

// sampling gives the defaults.
func sampling(every edge.Duration) Sampling {
	return Sampling{Every: every, Accept: Accept{Min: math.Inf(-1), Max: math.Inf(1)}}
}

// check refuses what can't work.
func (s *Sampling) check() error {
	switch {
	case s.Every <= 0:
		return fmt.Errorf("every is %s: it must be more than 0", s.Every)
	case s.Accept.Min > s.Accept.Max || math.IsNaN(s.Accept.Min) || math.IsNaN(s.Accept.Max):
		return fmt.Errorf("accept: min %v is over max %v", s.Accept.Min, s.Accept.Max)
	case s.Report.Delta < 0 || math.IsNaN(s.Report.Delta):
		return fmt.Errorf("report: delta %v is negative", s.Report.Delta)
	case s.Report.Heartbeat < 0:
		return fmt.Errorf("report: heartbeat %s is negative", s.Report.Heartbeat)
	}
	return nil
}

// options gives a driver its own config struct back.
func options[T any](v any) (*T, error) {
	cfg, ok := v.(*T)
	if !ok || cfg == nil {
		return nil, fmt.Errorf("its options are a %T, not a %T", v, cfg)
	}
	return cfg, nil
}
