package gpio

import (
	"testing"

	"periph.io/x/conn/v3/gpio/gpioreg"

	"fieldpost/edge"
)

// A name that two lines have belongs to the header's, whichever chip came first;
// of two other lines the first keeps it.
func TestPublish(t *testing.T) {
	b := NewSimBoard(SimOptions{})
	header := b.pin(17)
	stranger := func(name, alias string) *linePin { return &linePin{chip: b, offset: 3, name: name, alias: alias} }
	t.Cleanup(func() {
		for _, name := range []string{"usb/0", "usb/1", "usb/2", "usb/3", "PUMP", header.name, "P1_11"} {
			_ = gpioreg.Unregister(name)
		}
	})
	for _, pins := range [][]*linePin{
		{stranger("usb/0", "P1_11"), stranger("usb/1", "GPIO17"), stranger("usb/2", "PUMP"), header},
		{stranger("usb/3", "PUMP"), stranger("usb/0", "P1_11")},
	} {
		if err := publish(pins); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"GPIO17": "GPIO17", "P1_11": "GPIO17", "PUMP": "usb/2", "usb/0": "usb/0"} {
			p := find(gpioreg.ByName, edge.Pin(name))
			if p == nil || p.Name() != want {
				t.Errorf("%s is %v, want %s", name, p, want)
			}
		}
	}
}
