package gpio

import (
	"fmt"

	"fieldpost/edge"
)

// OwnLine is a line that the agent itself uses, for its light or its button: no device
// may have it.
type OwnLine struct {
	Name string // what it is for; the kernel shows its consumer as fieldpost:NAME
	Pin  edge.Pin
}

// holdOwn notes who has the agent's own lines, in front of the devices.
func holdOwn(own []OwnLine) (map[edge.Pin]string, error) {
	held := map[edge.Pin]string{}
	for _, o := range own {
		if other, ok := held[o.Pin]; ok {
			return nil, fmt.Errorf("use %s for the agent's %s: it is used by %s", o.Pin, o.Name, other)
		}
		held[o.Pin] = "the agent's " + o.Name
	}
	return held, nil
}

// ownLine requests a line for the agent itself.
func (s *Source) ownLine(name string, pin edge.Pin, cfg LineConfig) (Line, error) {
	return s.liner(Spec{Name: name}, newHeldLines(), newTap())(pin, cfg)
}
