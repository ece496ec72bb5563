package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"fieldpost/edge"
)

// LEDConfig is the light that shows how the agent is: an LED of the kernel's, or one
// on a pin.
type LEDConfig struct {
	Name      string   `mapstructure:"name"` // a folder of /sys/class/leds
	Pin       edge.Pin `mapstructure:"pin"`
	ActiveLow bool     `mapstructure:"active_low"` // of a pin: a low voltage lights it
}

// ButtonConfig is the agent's own button, which acts when it is let go of, by how long
// it was held.
type ButtonConfig struct {
	Pin       edge.Pin      `mapstructure:"pin"`
	ActiveLow *bool         `mapstructure:"active_low"` // never nil once loaded; default true: it connects the pin to ground
	Claim     edge.Duration `mapstructure:"claim"`      // held so long: the claim opens; default 3 s
	Reset     edge.Duration `mapstructure:"reset"`      // held so long: who has access is forgotten; default 15 s
}

// HoldMax is the longest hold of the button that does something: one that is down for
// longer is stuck.
const HoldMax = time.Minute

// The bounds and defaults of how long the button is held. Two acts are so far apart
// that a person can tell them from each other.
const (
	holdMin      = time.Second
	holdApart    = 2 * time.Second
	defaultClaim = edge.Duration(3 * time.Second)
	defaultReset = edge.Duration(15 * time.Second)
)

// spellOut lets one word stand for the whole of led and button, and off for none: what
// follows sees the keys alone.
func spellOut(root *node) {
	for _, key := range []string{"led", "button"} {
		e := root.entry(key)
		if e == nil || e.val.shape != scalar {
			continue
		}
		if e.val.text == "off" {
			root.keys = slices.DeleteFunc(root.keys, func(e entry) bool { return e.key == key })
			continue
		}
		word := "pin"
		if key == "led" && !pinWord(e.val.text) {
			word = "name"
		}
		e.val = &node{shape: dict, at: e.val.at, keys: []entry{{key: word, at: e.val.at, val: e.val}}}
	}
}

// pinWord reports whether a word is meant to be a pin of the header, rather than the
// name of an LED.
func pinWord(text string) bool {
	up := strings.ToUpper(strings.TrimSpace(text))
	for _, prefix := range []string{"", "GPIO", "BCM", "P1_", "J8_", "PIN", "BOARD"} {
		rest, ok := strings.CutPrefix(up, prefix)
		if _, err := strconv.Atoi(strings.TrimLeft(rest, " _-")); ok && err == nil {
			return true
		}
	}
	return false
}

func (l *loader) led(c *LEDConfig) {
	p := path{"led"}
	switch {
	case c == nil:
	case c.Name != "" && c.Pin != "":
		l.bad(p.with("name"), "led has a name and a pin", "keep one of them")
	case !l.has(p.with("pin")) && !l.has(p.with("name")):
		l.bad(p, "led has no light", "write  led: ACT  or  led: GPIO21")
	case c.Name != "" && c.ActiveLow:
		l.bad(p.with("active_low"), "led.active_low goes with a pin", "take it out: the kernel knows how its own LEDs are wired")
	case strings.ContainsAny(c.Name, "/\x00") || c.Name == "." || c.Name == "..":
		l.bad(p.with("name"), "led.name: "+quote(c.Name)+" is no LED", "write the name of a folder of /sys/class/leds, like ACT")
	}
}

func (l *loader) button(b *ButtonConfig) {
	p := path{"button"}
	if b == nil {
		return
	}
	if !l.has(p.with("pin")) {
		l.bad(p, "button has no pin", "write  button: GPIO3")
	}
	if b.ActiveLow == nil {
		b.ActiveLow = new(bool)
		*b.ActiveLow = true
	}
	if !l.has(p.with("claim")) {
		b.Claim = defaultClaim
	}
	if !l.has(p.with("reset")) {
		b.Reset = defaultReset
	}
	switch claim, reset := b.Claim.D(), b.Reset.D(); {
	case claim < holdMin:
		l.bad(p.with("claim"), "button.claim: "+b.Claim.String()+" is too short", "write "+edge.Duration(holdMin).String()+" or more, or a finger that only touches it claims")
	case reset < claim+holdApart:
		l.bad(p.with("reset"), "button.reset: "+b.Reset.String()+" is too near to button.claim, "+b.Claim.String(), "write "+edge.Duration(claim+holdApart).String()+" or more")
	case reset >= HoldMax:
		l.bad(p.with("reset"), "button.reset: "+b.Reset.String()+" is too long", "write less than "+edge.Duration(HoldMax).String()+": a button that is down for longer is stuck")
	}
}
