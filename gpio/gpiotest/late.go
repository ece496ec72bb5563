package gpiotest

import (
	"context"
	"time"

	"periph.io/x/conn/v3/gpio"

	fgpio "fieldpost/gpio"
)

// LatePin is a pin whose edges come Late after the kernel stamped them, as on a
// board that is busy.
type LatePin struct {
	gpio.PinIO
	Late time.Duration
}

// Request takes the line of the pin below, which must be a simulated board's.
func (p *LatePin) Request(cfg fgpio.LineConfig) (fgpio.Line, error) {
	l, err := p.PinIO.(interface {
		Request(fgpio.LineConfig) (fgpio.Line, error)
	}).Request(cfg)
	if err != nil {
		return nil, err
	}
	return &lateLine{l, p.Late}, nil
}

type lateLine struct {
	fgpio.Line
	late time.Duration
}

// NextEdge gives an edge late, but never loses one.
func (l *lateLine) NextEdge(ctx context.Context) (fgpio.Edge, error) {
	e, err := l.Line.NextEdge(ctx)
	if err == nil {
		<-time.After(l.late)
	}
	return e, err
}
