package agent

import (
	"context"
	"sync"
	"time"

	"fieldpost/gpio"
	"fieldpost/localapi"
)

const (
	// askMood is how often the light asks how the agent is.
	askMood = 2 * time.Second
	// oldMood is how old the answer may be: who gives none is not well.
	oldMood = 10 * time.Second
	// leaveWithin bounds how long a light is left behind.
	leaveWithin = time.Second
)

// mood is what the light shows: how the agent is, and the press of its button.
type mood struct {
	localapi.Condition
	press gpio.Hold
}

// signal is a way to blink. Its beats are how long it is lit, dark, lit and so on, over
// and over; without any it stays lit, or dark.
type signal struct {
	name  string
	when  func(m mood) bool
	beats []time.Duration
	lit   bool
}

// signals is THE table: the first row that holds is shown. Calm is a short flash, so that
// an agent that is well differs from a dead one, whose light stands still, and from a
// board without power. The agent makes each flash itself: the kernel's trigger timer
// would go on with calm after a crash. In calm that is a wake-up in two seconds, which is
// fewer than the watch of the store has.
var signals = []signal{
	{"reset", func(m mood) bool { return m.press.Down && !m.press.Stuck && m.press.Step == stepReset }, millis(60, 60), false},
	{"claim", func(m mood) bool { return m.press.Down && !m.press.Stuck && m.press.Step == stepClaim }, nil, true},
	{"pressed", func(m mood) bool { return m.press.Down && !m.press.Stuck }, nil, false},
	{"open", func(m mood) bool { return m.Open }, millis(900, 100), false},
	{"degraded", func(m mood) bool { return m.Degraded }, millis(250, 250), false},
	{"unclaimed", func(m mood) bool { return !m.Claimed }, millis(100, 150, 100, 1650), false},
	{"backlog", func(m mood) bool { return m.Backlog }, millis(1000, 1000), false},
	{"calm", func(mood) bool { return true }, millis(100, 3900), false},
}

func millis(ms ...int) (all []time.Duration) {
	for _, n := range ms {
		all = append(all, time.Duration(n)*time.Millisecond)
	}
	return all
}

// signalOf is what a mood looks like.
func signalOf(m mood) *signal {
	for i := range signals {
		if signals[i].when(m) {
			return &signals[i]
		}
	}
	return nil // can't happen: calm always holds
}

// lamp is the light itself. *gpio.LED is one.
type lamp interface {
	Open(ctx context.Context) error
	Light(ctx context.Context, on bool) error
	Close(ctx context.Context) error
}

// light shows how the agent is.
type light struct {
	lamp lamp
	ask  func() localapi.Condition

	mu      sync.Mutex
	mood    mood
	asked   time.Time
	changed chan struct{} // a token: look again
}

func newLight(l lamp, ask func() localapi.Condition) *light {
	return &light{lamp: l, ask: ask, asked: time.Now(), mood: mood{Condition: localapi.Condition{Claimed: true}}, changed: make(chan struct{}, 1)}
}

// watch asks how the agent is, now and then. It is apart from what blinks: an answer that
// does not come is one, too.
func (l *light) watch(ctx context.Context) error {
	tick := time.NewTicker(askMood)
	defer tick.Stop()
	for {
		c := l.ask()
		l.change(func(m *mood) { m.Condition, l.asked = c, time.Now() })
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// press shows a press of the button.
func (l *light) press(h gpio.Hold) { l.change(func(m *mood) { m.press = h }) }

// change changes the mood, and wakes who shows it where it looks different.
func (l *light) change(how func(m *mood)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := signalOf(l.mood)
	how(&l.mood)
	if signalOf(l.mood) == before {
		return
	}
	select {
	case l.changed <- struct{}{}:
	default: // it has one to take already
	}
}

// signal is what is to be shown now.
func (l *light) signal() *signal {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.mood
	m.Degraded = m.Degraded || time.Since(l.asked) > oldMood
	return signalOf(m)
}

// shows is the name of the signal.
func (l *light) shows() string { return l.signal().name }

// shine takes the light and blinks until ctx is done, or the light fails. It calls works
// once the light does.
func (l *light) shine(ctx context.Context, works func()) (err error) {
	if err := l.lamp.Open(ctx); err != nil {
		return err
	}
	defer func() {
		leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
		defer cancel()
		if cerr := l.lamp.Close(leave); err == nil {
			err = cerr
		}
	}()
	var shown *signal
	lit := false
	for beat := 0; ; beat++ {
		s := l.signal()
		if s != shown {
			shown, beat = s, 0
		}
		on, wait := s.lit, oldMood
		if len(s.beats) > 0 {
			on, wait = beat%2 == 0, s.beats[beat%len(s.beats)]
		}
		if on != lit {
			if err := l.lamp.Light(ctx, on); err != nil {
				return ended(ctx, err)
			}
			works()
			lit = on
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-l.changed:
			timer.Stop()
			shown = nil
		case <-timer.C:
		}
	}
}

// ended is no error where the end was asked for.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
