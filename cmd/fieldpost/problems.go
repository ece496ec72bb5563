package main

import (
	"errors"
	"fmt"

	"fieldpost/edge/config"
)

// problemLines splits an error into its lines: one a problem of the config,
// each with its place, one a reason of the agent's, else the error in one.
func problemLines(err error) []string {
	var refused *statusError
	if errors.As(err, &refused) && len(refused.Reasons) > 0 {
		return refused.Reasons
	}
	var probs *config.Problems
	if !errors.As(err, &probs) {
		return []string{oneLine(err.Error())}
	}
	lines := make([]string, 0, len(probs.List)+1)
	for _, p := range probs.List {
		lines = append(lines, oneLine(p.String()))
	}
	if probs.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", probs.More))
	}
	return lines
}
