package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"fieldpost/edge/agent"
	"fieldpost/edge/config"
)

// checked is what check found, as JSON.
type checked struct {
	OK       bool             `json:"ok"`
	Files    []string         `json:"files"`
	Warnings []string         `json:"warnings"`
	Problems []config.Problem `json:"problems"`
	Hash     string           `json:"hash,omitempty"`
}

func checkVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Checks a config and shows every mistake with its place and cure",
		Long: `Checks the config that "run" would use, or that FILE begins. Nothing is started
and no agent is needed. Exit code 2 where there is a mistake.`,
		Args: takes(0, 1, "one file at most"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		path := ""
		if len(args) > 0 {
			path = args[0]
		}
		cfg, err := a.loadConfig(path, nil)
		if *out == asJSON {
			return a.printChecked(cfg, err)
		}
		if err != nil {
			return err
		}
		for _, w := range cfg.Warnings {
			fmt.Fprintf(a.Err, "fieldpost: warning: %s\n", oneLine(w))
		}
		_, err = fmt.Fprintf(a.Out, "fine: %d devices, %d uplinks, %d keys, %d mailboxes\n", len(cfg.Devices), len(cfg.Uplinks), len(cfg.Keys), len(cfg.Mailboxes))
		return err
	}
	return cmd
}

// loadConfig reads the config that path begins ("": the usual places); flags are
// put over it. A mistake has the exit code of one.
func (a *app) loadConfig(path string, flags map[string]string) (*config.Config, error) {
	if path == "" {
		path = a.getenv("FIELDPOST_CONFIG")
	}
	cfg, err := config.Load(config.Source{Path: path, Env: a.Environ, Flags: flags, Tables: agent.Tables(), Plain: a.plain()})
	return cfg, withCode(exitUsage, err)
}

func (a *app) printChecked(cfg *config.Config, err error) error {
	found := checked{OK: err == nil, Files: []string{}, Warnings: []string{}, Problems: []config.Problem{}}
	var probs *config.Problems
	switch {
	case errors.As(err, &probs):
		found.Problems = probs.List
	case err != nil:
		return err
	default:
		found.Hash = cfg.Hash
		found.Files = append(found.Files, cfg.Files...)
		found.Warnings = append(found.Warnings, cfg.Warnings...)
	}
	if perr := printJSON(a.Out, found); perr != nil {
		return perr
	}
	if err != nil {
		return withCode(exitUsage, errSilent)
	}
	return nil
}
