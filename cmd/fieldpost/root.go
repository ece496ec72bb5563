package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// app is what all verbs share: the world and the flags of the root.
type app struct {
	*shell
	socket string
}

// verb makes one command. The table below is the only list of them.
type verb func(*app) *cobra.Command

// verbs is THE table: one file and one line a verb, in the order of the help.
func verbs() []verb {
	return []verb{
		runVerb,
		demoVerb,
		checkVerb,
		statusVerb,
		reloadVerb,
		eventsVerb,
		devicesVerb,
		setVerb,
		whyVerb,
		pinsVerb,
		ringsVerb,
		mailboxesVerb,
		uplinksVerb,
		claimVerb,
		keysVerb,
		exportVerb,
		verifyVerb,
		backupVerb,
		restoreVerb,
		resetVerb,
		firstbootVerb,
		selftestVerb,
		doctorVerb,
		recordVerb,
		simVerb,
		versionVerb,
	}
}

// newRoot builds the command tree.
func newRoot(sh *shell) *cobra.Command {
	a := &app{shell: sh}
	root := &cobra.Command{
		Use:   "fieldpost",
		Short: "The field post office of a Raspberry Pi: durable events from the board to the LAN and upstream",
		Long: `Fieldpost reads the sensors wired to the board, writes every event to a durable
ring, serves them to the LAN and forwards them upstream when there is a line to it.

"fieldpost demo" shows all of it with nothing attached.
Exit codes: 0 fine, 1 failed or found a problem, 2 usage or config, 3 no agent to talk to.`,
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		Args:                       knownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(sh.Err)
			if err := cmd.Help(); err != nil {
				return err
			}
			return usagef("no verb given")
		},
	}
	root.SetIn(sh.In)
	root.SetOut(sh.Out)
	root.SetErr(sh.Err)
	root.PersistentFlags().StringVar(&a.socket, "socket", "", "the agent's `path` (FIELDPOST_SOCKET; default as the agent's own)")
	for _, v := range verbs() {
		root.AddCommand(v(a))
	}
	root.InitDefaultHelpCmd()
	for _, sub := range root.Commands() {
		if sub.Name() == "help" {
			sub.Args = knownTopic
		}
	}
	markUsage(root)
	return root
}

// knownTopic refuses help with a word that is no verb.
func knownTopic(help *cobra.Command, args []string) error {
	verb, rest, err := help.Root().Find(args)
	if err == nil && len(rest) > 0 {
		err = knownVerb(verb, rest)
	}
	return err
}

// knownVerb refuses a word that is no verb, and names the nearest.
func knownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("no verb %q: did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return fmt.Errorf("no verb %q: see fieldpost --help", args[0])
}

// markUsage gives the exit code of a usage error to all that cobra itself
// refuses, on every command: what a verb returns from its own work keeps its own.
func markUsage(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%s: %s: see %s --help", c.Name(), oneLine(err.Error()), c.CommandPath())
	})
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usagef("%s", oneLine(err.Error()))
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markUsage(sub)
	}
}

// takes is an argument rule that says what is missing in the verb's own words.
func takes(min, max int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < min || (max >= 0 && len(args) > max) {
			return fmt.Errorf("%s takes %s: see %s --help", cmd.Name(), what, cmd.CommandPath())
		}
		return nil
	}
}
