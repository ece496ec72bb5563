package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"fieldpost/edge/backup"
	"fieldpost/queue"
)

func resetVerb(a *app) *cobra.Command {
	var dir string
	var yes, keep bool
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Deletes all that is stored, and what the API changed of the config",
		Long: `Deletes the store: events, keys, mailboxes, cursors, what is still to be delivered,
and what was salvaged of it. The agent must be stopped. What the API wrote of the
config (config.d) goes too, unless --keep-config is given; the config files stay.
The next start begins a new store, which nobody has claimed.

Without --yes it only says what would go, with exit code 2.`,
		Args: takes(0, 0, "no argument"),
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the `folder` of the store (default: the config's data_dir)")
	cmd.Flags().BoolVar(&yes, "yes", false, "delete it")
	cmd.Flags().BoolVar(&keep, "keep-config", false, "keep what the API wrote of the config")
	cmd.RunE = func(*cobra.Command, []string) error {
		if dir == "" {
			cfg, err := a.loadConfig("", nil)
			if err != nil {
				return err
			}
			dir = cfg.DataDir
		}
		dir = filepath.Clean(dir)
		return a.reset(dir, yes, keep)
	}
	return cmd
}

// resetNames is what goes, below the store's folder, in this order: a stop half way
// leaves a store that still opens, and a second reset does the rest.
var resetNames = []string{"rings", "damaged", "journal-0", "journal-1", "store.json", "state.db", "claim", "running", "config.restored"}

func (a *app) reset(dir string, yes, keep bool) error {
	folder, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := fmt.Fprintf(a.Out, "there is nothing in %s\n", dir)
		return err
	}
	if err != nil {
		return err
	}
	gone := resetNames
	if !keep {
		gone = append(gone[:len(gone):len(gone)], "config.d")
	}
	if !yes {
		return a.tellReset(dir, gone, folder)
	}
	unlock, err := queue.Lock(dir)
	if err != nil {
		return resetError(err)
	}
	defer unlock()
	files, bytes := weighAll(dir, gone)
	for _, name := range gone {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("reset %s: %w", dir, err)
		}
	}
	if err := errors.Join(queue.SyncFolder(dir), backup.OwnAs(dir, folder)); err != nil {
		return fmt.Errorf("reset %s: %w", dir, err)
	}
	fmt.Fprintf(a.Out, "%s: deleted %d files, %s\n", dir, files, bytesText(bytes))
	a.tellAside(dir)
	return nil
}

func resetError(err error) error {
	if errors.Is(err, queue.ErrLocked) {
		return fmt.Errorf("%w: stop the agent first (sudo systemctl stop fieldpost)", err)
	}
	return err
}

// tellReset says what a reset would delete: the events of each ring, where the store
// can be opened, and the files.
func (a *app) tellReset(dir string, gone []string, folder fs.FileInfo) error {
	if exists(filepath.Join(dir, "state.db")) {
		store, err := a.openStopped(dir)
		switch {
		case errors.Is(err, queue.ErrLocked):
			return resetError(err)
		case err != nil:
			fmt.Fprintf(a.Err, "fieldpost: the events can't be counted: %s\n", oneLine(err.Error()))
		default:
			t := newTable(a.Out, "RING", "EVENTS", "BYTES")
			for _, r := range store.store.Rings() {
				t.row(r.Name, count(r.Last+1-r.First), bytesText(r.Bytes))
			}
			store.close()
			if err := errors.Join(t.flush(), backup.OwnAs(dir, folder)); err != nil {
				return err
			}
		}
	}
	files, bytes := weighAll(dir, gone)
	a.tellAside(dir)
	return usagef("reset: it deletes %d files, %s, in %s: say --yes to do it", files, bytesText(bytes), dir)
}

// tellAside names the old stores that a reset leaves.
func (a *app) tellAside(dir string) {
	old, _ := filepath.Glob(dir + ".before-restore*") // the pattern is good
	if exists(dir + ".new") {
		old = append(old, dir+".new")
	}
	if len(old) > 0 {
		fmt.Fprintf(a.Out, "older stores stay: %s\n", strings.Join(old, ", "))
	}
}

func weighAll(dir string, names []string) (files int, bytes int64) {
	for _, name := range names {
		n, b := weigh(filepath.Join(dir, name))
		files, bytes = files+n, bytes+b
	}
	return files, bytes
}

// weigh counts the files below a path, and their bytes, as far as they can be seen.
func weigh(path string) (files int, bytes int64) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			files, bytes = files+1, bytes+info.Size()
		}
		return nil
	})
	return files, bytes
}
