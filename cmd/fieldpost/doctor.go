package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fieldpost/edge"
	"fieldpost/edge/config"
)

// health is how bad a finding of doctor is.
type health string

// A healthy one is listed too: what was looked at is worth as much as what was found.
const (
	healthy health = "ok"
	notable health = "note" // works, and may surprise
	ailing  health = "bad"  // something does not work, or will cost data
)

// symptom is one line of doctor's.
type symptom struct {
	Check  string `json:"check"`
	Health health `json:"health"`
	Text   string `json:"text"`
	Cure   string `json:"cure,omitempty"`
}

// patient is what the checks look at: the machine below root, the config, and the
// agent where one runs.
type patient struct {
	*app
	root   string // "" is the machine's own
	dev    string // where its device files are
	config *config.Config
	status *status // nil: no agent answers
	down   error   // why
	board  edge.Board
}

// checkup is one row of the table: it finds what there is to say of one thing.
type checkup struct {
	name string
	find func(context.Context, *patient) []symptom
}

// checkups is THE table, in the order of the report. What the others need comes first.
func checkups() []checkup {
	return []checkup{
		{"config", configCheck},
		{"agent", agentCheck},
		{"package", packageCheck},
		{"crashes", crashCheck},
		{"claim", claimCheck},
		{"board", boardCheck},
		{"gpio", gpioCheck},
		{"groups", groupsCheck},
		{"led", ledCheck},
		{"buses", busesCheck},
		{"devices", devicesCheck},
		{"power", powerCheck},
		{"clock", clockCheck},
		{"disk", diskCheck},
		{"card", cardCheck},
		{"log", logCheck},
		{"memory", memoryCheck},
		{"ports", portsCheck},
		{"certificate", certificateCheck},
		{"uplinks", uplinksCheck},
	}
}

func doctorVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor [FILE]",
		Short: "Looks at the board, the card, the clock, the ports and the ways out, and says what cures them",
		Long: `Looks at everything that keeps an agent from its work, one line a finding, with the
cure. It needs no agent; where one runs its devices and uplinks are looked at too. What the
user may not see is said: with sudo it sees more. Exit code 1 where something is bad.`,
		Args: takes(0, 1, "one config file at most"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path := ""
		if len(args) > 0 {
			path = args[0]
		}
		return a.doctor(cmd.Context(), path, *out)
	}
	return cmd
}

func (a *app) doctor(ctx context.Context, path string, out format) error {
	p := &patient{app: a, root: a.Root, dev: a.Root + "/dev"}
	cfg, err := a.loadConfig(path, nil)
	p.config = cfg
	found := configProblems(err)
	if p.board, err = edge.ThisBoard(); err != nil {
		found = append(found, symptom{"board", ailing, "the board's own clock can't be read: " + err.Error(), ""})
	}
	for _, c := range checkups() {
		for _, s := range c.find(ctx, p) {
			s.Check = c.name
			found = append(found, s)
		}
	}
	bad := 0
	for _, s := range found {
		if s.Health == ailing {
			bad++
		}
	}
	if out == asJSON {
		err = printJSON(a.Out, struct {
			OK       bool      `json:"ok"`
			Findings []symptom `json:"findings"`
		}{bad == 0, found})
	} else {
		err = a.printSymptoms(found, bad)
	}
	if err == nil && bad > 0 {
		return errSilent
	}
	return err
}

func (a *app) printSymptoms(found []symptom, bad int) error {
	t := newTable(a.Out, "CHECK", "RESULT", "FINDING")
	for _, s := range found {
		t.row(s.Check, string(s.Health), s.Text)
		if s.Cure != "" {
			t.row(" ", " ", "  cure: "+s.Cure)
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	verdict := "nothing bad was found"
	if bad > 0 {
		verdict = fmt.Sprintf("%d bad, each with its cure where there is one", bad)
	}
	_, err := fmt.Fprintln(a.Out, verdict)
	return err
}

// one is a single finding.
func one(h health, text, cure string) []symptom {
	return []symptom{{Health: h, Text: text, Cure: cure}}
}

// configProblems are the mistakes of a config, each with its place.
func configProblems(err error) (found []symptom) {
	if err == nil {
		return nil
	}
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			found = append(found, symptom{"config", ailing, line, "fieldpost check shows it alone"})
		}
	}
	return found
}

func configCheck(_ context.Context, p *patient) []symptom {
	if p.config == nil {
		return nil // its problems are told
	}
	where := "no file: the defaults, without any device"
	if len(p.config.Files) > 0 {
		where = strings.Join(p.config.Files, ", ")
	}
	found := one(healthy, fmt.Sprintf("%s: %d devices, %d uplinks", where, len(p.config.Devices), len(p.config.Uplinks)), "")
	for _, w := range p.config.Warnings {
		found = append(found, symptom{Health: notable, Text: oneLine(w)})
	}
	return found
}
