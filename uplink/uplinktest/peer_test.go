package uplinktest

import (
	"errors"
	"testing"

	"fieldpost/edge"
)

func TestPeerConforms(t *testing.T) {
	Run(t, func(t *testing.T) Subject {
		p := NewPeer()
		p.Never(func(ev *edge.Event) error {
			if len(ev.Data) > 5000 {
				return errors.New("too large")
			}
			return nil
		})
		return Subject{Sender: p, Received: p.Received, TooLarge: 5000}
	})
}
