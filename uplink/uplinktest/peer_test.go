package uplinktest

import "testing"

func TestPeerConforms(t *testing.T) {
	Run(t, func(t *testing.T) Subject {
		p := NewPeer()
		return Subject{Sender: p, Received: p.Received}
	})
}
