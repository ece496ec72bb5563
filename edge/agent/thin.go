package agent

import "fieldpost/edge"

// thinner sums up what is oldest in the rings that the config says to thin.
func (a *agent) thinner() *edge.Thinner {
	return edge.NewThinner(edge.ThinnerOptions{Store: a.store, Pump: a.pump, Clock: a.clock, Log: a.log.With("part", "thinner")})
}
