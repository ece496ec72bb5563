package gpiotest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// PlugLED puts an LED of leds-gpio there, as a Raspberry Pi has them, with a trigger.
func (b *Bench) PlugLED(t testing.TB, name, trigger string) {
	t.Helper()
	b.Plug(t, "sys/class/leds", "platform/leds/leds/"+name, map[string]string{
		"brightness": "0\n", "max_brightness": "255\n", "trigger": triggerList(trigger)})
}

// triggers are some of a Pi's.
var triggers = []string{"none", "kbd-capslock", "timer", "heartbeat", "mmc0", "default-on"}

func triggerList(active string) string {
	all := make([]string, len(triggers))
	for i, name := range triggers {
		if all[i] = name; name == active {
			all[i] = "[" + name + "]"
		}
	}
	return strings.Join(all, " ") + "\n"
}

// writeLED is a write to the file of an LED, as the kernel's drivers/leds/led-class.c and
// led-triggers.c take it: it reports whether the file is one of those.
func writeLED(file, text string) (bool, error) {
	switch filepath.Base(file) {
	case "trigger":
		for _, name := range triggers {
			if name == text {
				return true, os.WriteFile(file, []byte(triggerList(name)), 0o600)
			}
		}
		return true, unix.EINVAL
	case "brightness":
		if text == "0" { // dark takes the trigger away
			if err := os.WriteFile(filepath.Join(filepath.Dir(file), "trigger"), []byte(triggerList("none")), 0o600); err != nil {
				return true, err
			}
		}
		return true, os.WriteFile(file, []byte(text+"\n"), 0o600)
	}
	return false, nil
}
