package config

import (
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
)

func TestFront(t *testing.T) {
	yes, no := true, false
	own := &ButtonConfig{Pin: "GPIO3", ActiveLow: &yes, Claim: edge.Duration(3 * time.Second), Reset: edge.Duration(15 * time.Second)}
	for _, c := range []struct {
		yaml   string
		env    []string
		led    *LEDConfig
		button *ButtonConfig
	}{
		{yaml: ""},
		{yaml: "led: off\nbutton: off\n"},
		{yaml: "led: ACT\n", led: &LEDConfig{Name: "ACT"}},
		{yaml: "led: led0\n", led: &LEDConfig{Name: "led0"}},
		{yaml: "led: {name: mmc0::}\n", led: &LEDConfig{Name: "mmc0::"}},
		{yaml: "led: GPIO21\n", led: &LEDConfig{Pin: "GPIO21"}},
		{yaml: "led: 21\n", led: &LEDConfig{Pin: "GPIO21"}},
		{yaml: "led: P1_40\n", led: &LEDConfig{Pin: "GPIO21"}},
		{yaml: "led: {pin: GPIO21, active_low: true}\n", led: &LEDConfig{Pin: "GPIO21", ActiveLow: true}},
		{yaml: "led: ACT\n", env: []string{"FIELDPOST_LED=PWR"}, led: &LEDConfig{Name: "PWR"}},
		{yaml: "", env: []string{"FIELDPOST_LED__PIN=GPIO5"}, led: &LEDConfig{Pin: "GPIO5"}},
		{yaml: "button: GPIO3\n", button: own},
		{yaml: "button: {pin: GPIO3, active_low: false, claim: 1s, reset: 59s}\n",
			button: &ButtonConfig{Pin: "GPIO3", ActiveLow: &no, Claim: edge.Duration(time.Second), Reset: edge.Duration(59 * time.Second)}},
	} {
		src := one(t, c.yaml)
		src.Env = append(src.Env, c.env...)
		cfg := mustLoad(t, src)
		same(t, cfg.LED, c.led)
		same(t, cfg.Button, c.button)
		again := mustLoad(t, one(t, cfg.String()))
		if again.Hash != cfg.Hash {
			t.Errorf("%s becomes\n%s\nand then\n%s", c.yaml, cfg, again)
		}
	}
}

func TestFrontProblems(t *testing.T) {
	for _, c := range []struct{ yaml, want string }{
		{"led: GPIO17\ndevices: {door: {line: GPIO17}}\n", "fieldpost.yaml:2:24: devices.door.line: GPIO17 is already led.pin (fieldpost.yaml:1:6): give each its own pin"},
		{"led: GPIO17\nbutton: 17\n", "GPIO17 is already"},
		{"led: GPIO99\n", `led.pin: pin "GPIO99": the highest line is GPIO53`},
		{"led: P1_1\n", "no line"},
		{"led: {name: ACT, pin: GPIO4}\n", "fieldpost.yaml:1:13: led has a name and a pin: keep one of them"},
		{"led: {active_low: true}\n", "led has no light: write  led: ACT  or  led: GPIO21"},
		{"led: {name: ACT, active_low: true}\n", "led.active_low goes with a pin"},
		{"led: {nam: ACT}\n", `led has no key "nam": did you mean name?`},
		{"led: ../x\n", "is no LED: write the name of a folder of /sys/class/leds"},
		{"led: [ACT]\n", "led needs"},
		{"led:\n", "led has no value"},
		{"button: {claim: 3s}\n", "button has no pin: write  button: GPIO3"},
		{"button: {pin: GPIO3, claim: 100ms}\n", "button.claim: 100ms is too short: write 1s or more"},
		{"button: {pin: GPIO3, claim: 5s, reset: 6s}\n", "button.reset: 6s is too near to button.claim, 5s: write 7s or more"},
		{"button: {pin: GPIO3, reset: 1m}\n", "button.reset: 1m is too long: write less than 1m"},
		{"button: {pin: GPIO3, claim: 3}\n", "no unit"},
	} {
		if got := strings.Join(problems(t, one(t, c.yaml)), "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%s:\ngot  %s\nwant %s", c.yaml, got, c.want)
		}
	}
}
