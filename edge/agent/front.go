package agent

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/gpio"
	"fieldpost/localapi"
)

// A light or button that failed is tried again after frontFirst, then each time after
// twice as long, up to frontLast.
const (
	frontFirst = time.Second
	frontLast  = time.Minute
)

// keeper is who the button talks to. *localapi.Server is one.
type keeper interface {
	OpenClaim() error
	ForgetAccess(ctx context.Context) (localapi.Forgotten, error)
}

// front is what a person without a screen sees and presses: the light and the button.
type front struct {
	a      *agent
	light  *light               // nil: there is none
	button *config.ButtonConfig // nil: there is none
	keeper keeper

	mu      sync.Mutex
	trouble map[string]string // of the light and the button, by name; "" none
}

// ownLines are the lines that the light and the button have.
func ownLines(cfg *config.Config) (own []gpio.OwnLine) {
	if cfg.LED != nil && cfg.LED.Pin != "" {
		own = append(own, gpio.OwnLine{Name: "led", Pin: cfg.LED.Pin})
	}
	if cfg.Button != nil {
		own = append(own, gpio.OwnLine{Name: "button", Pin: cfg.Button.Pin})
	}
	return own
}

// newFront makes the light and the button. Nothing is touched yet. A simulated board has
// no LED of the kernel's: the one here is the machine's own.
func (a *agent) newFront() *front {
	f := &front{a: a, button: a.opt.Config.Button, keeper: a.api, trouble: map[string]string{}}
	led := a.opt.Config.LED
	if led != nil && led.Name != "" && a.simulated() {
		a.log.Info("a simulated board lights no LED of the kernel's", "led", led.Name)
		led = nil
	}
	if led != nil {
		f.light = newLight(a.source.LED(gpio.LEDOptions{
			Name: led.Name, Pin: led.Pin, ActiveLow: led.ActiveLow, Note: a.ledNote(), Boot: a.board.BootID,
		}), a.api.Condition)
	}
	return f
}

// ledNote is where it is noted what the kernel showed on the LED that is ours.
func (a *agent) ledNote() string { return filepath.Join(a.opt.Config.DataDir, "led") }

// start runs both, each by itself: what one waits for holds nobody else.
func (f *front) start(s *stage) {
	if f.light != nil {
		s.run("the light's watch", f.light.watch)
		s.run("the light", func(ctx context.Context) error { return f.again(ctx, "light", f.light.shine) })
	} else if !f.a.simulated() {
		s.run("the LED of an earlier run", func(ctx context.Context) error {
			f.a.source.LED(gpio.LEDOptions{Note: f.a.ledNote(), Boot: f.a.board.BootID}).PutBack(ctx)
			return nil
		})
	}
	if f.button != nil {
		s.run("the button", func(ctx context.Context) error { return f.again(ctx, "button", f.hold) })
	}
}

// again runs one of the two until ctx is done. What fails is a problem of the status,
// told in the log once, and tried again.
func (f *front) again(ctx context.Context, name string, run func(ctx context.Context, works func()) error) error {
	for wait := frontFirst; ; wait = min(2*wait, frontLast) {
		err := run(ctx, func() {
			wait = frontFirst
			f.set(name, "")
		})
		if ctx.Err() != nil {
			if err != nil {
				f.a.log.Warn("leave the agent's "+name, "err", err)
			}
			return nil
		}
		if f.set(name, err.Error()) {
			f.a.log.Warn("the agent's "+name+" can't be used", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// set notes what is wrong with one of the two, and reports whether that is news.
func (f *front) set(name, trouble string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	news := f.trouble[name] != trouble
	f.trouble[name] = trouble
	return news
}

// problems says what is wrong with the light and the button.
func (f *front) problems() (all []string) {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range []string{"light", "button"} {
		if why := f.trouble[name]; why != "" {
			all = append(all, "The agent's "+name+" can't be used: "+strings.TrimSuffix(why, ".")+".")
		}
	}
	return all
}

// shows is what the light shows, "" where there is none, or it can't be used.
func (f *front) shows() string {
	if f == nil || f.light == nil {
		return ""
	}
	f.mu.Lock()
	dark := f.trouble["light"] != ""
	f.mu.Unlock()
	if dark {
		return ""
	}
	return f.light.shows()
}

// hold follows the button.
func (f *front) hold(ctx context.Context, works func()) error {
	return f.a.source.Hold(ctx, gpio.HoldOptions{
		Pin: f.button.Pin, ActiveLow: *f.button.ActiveLow,
		Steps: []time.Duration{f.button.Claim.D(), f.button.Reset.D()}, Stuck: config.HoldMax,
		Ready: works, Tell: func(h gpio.Hold) { f.held(ctx, h) },
	})
}

// The steps of the button.
const (
	stepClaim = 1
	stepReset = 2
)

// held shows how long the button is held, and does what that says when it is let go of.
func (f *front) held(ctx context.Context, h gpio.Hold) {
	if f.light != nil {
		f.light.press(h)
	}
	switch {
	case h.Stuck && h.Down:
		f.a.log.Warn("the button is down for too long: it does nothing", "over", config.HoldMax)
		f.tell(map[string]any{"did": "nothing", "why": "it is down for over " + config.HoldMax.String()})
	case h.Stuck, h.Down, h.For == 0:
	case h.Step == stepClaim:
		if err := f.keeper.OpenClaim(); err != nil {
			f.a.log.Info("the button was held: it claims nothing", "held", h.For, "why", err)
			return
		}
		f.a.log.Info("the button was held: the next client of the LAN claims the agent without a code, for two minutes", "held", h.For)
	case h.Step == stepReset:
		f.forget(ctx, h.For)
	}
}

func (f *front) forget(ctx context.Context, held time.Duration) {
	done, err := f.keeper.ForgetAccess(ctx)
	if err != nil {
		f.a.log.Error("the button was held, and the keys can't be forgotten: hold it again", "held", held, "err", err)
		f.tell(map[string]any{"did": "nothing", "why": "the keys could not be deleted: " + err.Error()})
		return
	}
	f.a.log.Warn("the button was held: who had access is forgotten", "held", held, "keys", done.Deleted, "kept by the config", done.Kept)
	if done.Claimed && len(done.Kept) > 0 { // a simulated board needs no claim
		f.a.log.Warn("the config has an admin's key: the agent stays claimed")
	}
}

// tell writes what the button did into the ring audit.
func (f *front) tell(data map[string]any) {
	raw, err := json.Marshal(data)
	if err != nil {
		return // can't happen: texts
	}
	f.a.pump.Emit(edge.Event{Ring: edge.RingAudit, Name: "button", Kind: edge.System, From: "system:button", Data: raw}, nil)
}
