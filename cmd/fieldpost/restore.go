package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"fieldpost/edge/backup"
	"fieldpost/queue"
)

func restoreVerb(a *app) *cobra.Command {
	var dir string
	var yes bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Makes a store of a backup; what is there is moved aside, never deleted",
		Long: `Makes a store of FILE, which "fieldpost backup" wrote (- is the standard input). The
agent must be stopped. The file is unpacked beside the folder of the store, proven
against its sums, and then takes its place in one step: a power cut leaves the old
store or the new one. A store that is there is moved aside, to FOLDER.before-restore,
and only with --yes.

The new store has an id of its own, and a new epoch begins with its first start. The
config files of the backup are put beside it, in FOLDER/config.restored: those in
/etc/fieldpost are not touched.`,
		Example: `  sudo systemctl stop fieldpost
  sudo fieldpost restore /mnt/usb/greenhouse.tar.zst --yes
  sudo systemctl start fieldpost`,
		Args: takes(1, 1, "the file to read"),
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the `folder` to restore to (default: the config's data_dir)")
	cmd.Flags().BoolVar(&yes, "yes", false, "move what is there aside")
	out := outputFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if dir == "" {
			cfg, err := a.loadConfig("", nil)
			if err != nil {
				return err
			}
			dir = cfg.DataDir
		}
		dir = filepath.Clean(dir)
		from, err := a.openFile(args[0])
		if err != nil {
			return err
		}
		defer from.Close()
		done, err := backup.Restore(from, backup.Options{Dir: dir, Replace: yes})
		if err != nil {
			return a.restoreError(err, dir)
		}
		return a.tellRestored(done, dir, *out)
	}
	return cmd
}

// openFile opens a file to read; - is the standard input.
func (a *app) openFile(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(a.In), nil
	}
	return os.Open(name)
}

// restoreError says what to do about a refusal.
func (a *app) restoreError(err error, dir string) error {
	switch {
	case errors.Is(err, queue.ErrLocked):
		return fmt.Errorf("%w: stop the agent first (sudo systemctl stop fieldpost)", err)
	case errors.Is(err, backup.ErrNotEmpty):
		files, bytes := weigh(dir)
		return withCode(exitUsage, fmt.Errorf("%w: it has %d files, %s: --yes moves it to %s.before-restore", err, files, bytesText(bytes), dir))
	}
	return err
}

func (a *app) tellRestored(done *backup.Restored, dir string, out format) error {
	m := done.Manifest
	if out == asJSON {
		return printJSON(a.Out, struct {
			Dir     string `json:"dir"`
			Aside   string `json:"aside,omitempty"`
			Configs string `json:"configs,omitempty"`
			*backup.Manifest
		}{dir, done.Aside, done.Configs, m})
	}
	fmt.Fprintf(a.Out, "%s: the store of agent %s up to %s, with a new id and, from its next start on, a new epoch\n", dir, m.Agent, m.Position)
	if done.Aside != "" {
		fmt.Fprintf(a.Out, "what was there is in %s\n", done.Aside)
	}
	if done.Configs != "" {
		fmt.Fprintf(a.Out, "its config is in %s: copy what you want of it: %s\n", done.Configs, printable(strings.Join(m.Configs(), ", ")))
	}
	if len(m.LeftOut) > 0 {
		fmt.Fprintf(a.Out, "these secrets were not in the backup: %s\n", printable(strings.Join(m.LeftOut, ", ")))
	}
	return nil
}
