package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
what was salvaged of it, and the config files that a restore put beside it. The agent
must be stopped. What the API wrote of the config (config.d) goes too, unless
--keep-config is given; the config files in place stay. The next start begins a new
store, which nobody has claimed.

Without --yes it only says what would go, with exit code 2.`,
		Args: takes(0, 0, "no argument"),
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the `folder` of the store (default: the config's data_dir)")
	cmd.Flags().BoolVar(&yes, "yes", false, "delete it")
	cmd.Flags().BoolVar(&keep, "keep-config", false, "keep what the API wrote of the config")
	out := outputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		if dir == "" {
			cfg, err := a.loadConfig("", nil)
			if err != nil {
				return err
			}
			dir = cfg.DataDir
		}
		r := &reset{Dir: filepath.Clean(dir), Rings: []resetRing{}, Stay: []string{}}
		err := a.reset(r, yes, keep)
		if err != nil && exitCode(err) != exitUsage {
			return err
		}
		if perr := a.printReset(r, *out); err == nil {
			err = perr
		}
		return err
	}
	return cmd
}

// reset is what a reset deletes, or deleted.
type reset struct {
	Dir     string      `json:"dir"`
	Deleted bool        `json:"deleted"`
	Files   int         `json:"files"`
	Bytes   int64       `json:"bytes"`
	Rings   []resetRing `json:"rings"` // where they could be counted, and nothing was deleted
	Stay    []string    `json:"stay"`  // older stores beside it
}

type resetRing struct {
	Name   string `json:"name"`
	Events uint64 `json:"events"`
	Bytes  int64  `json:"bytes"`
}

// resetNames is what goes, below the store's folder, in this order: a stop half way
// leaves a store that still opens, and a second reset does the rest.
var resetNames = []string{"rings", "damaged", "journal-0", "journal-1", "store.json", "state.db", "claim", "running", "config.restored"}

// storeMarks are what a folder that was a store's has, the last after a reset too.
var storeMarks = []string{"state.db", "store.json", "lock"}

func (a *app) reset(r *reset, yes, keep bool) error {
	folder, err := os.Stat(r.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(storeMarks, func(name string) bool { return exists(filepath.Join(r.Dir, name)) }) {
		return fmt.Errorf("reset: %s is no folder of a store: nothing was deleted", r.Dir)
	}
	gone := leaves(r.Dir, keep)
	for _, name := range gone {
		files, bytes := weigh(filepath.Join(r.Dir, name))
		r.Files, r.Bytes = r.Files+files, r.Bytes+bytes
	}
	r.Stay = olderStores(r.Dir)
	if !yes {
		if r.Files == 0 {
			return nil
		}
		if err := a.countRings(r); err != nil {
			return err
		}
		return usagef("reset: it deletes %d files, %s, in %s: say --yes to do it", r.Files, bytesText(r.Bytes), r.Dir)
	}
	unlock, err := queue.Lock(r.Dir)
	if err != nil {
		return resetError(err)
	}
	defer unlock()
	for _, name := range gone {
		if err := os.RemoveAll(filepath.Join(r.Dir, name)); err != nil {
			return fmt.Errorf("reset %s: %w", r.Dir, err)
		}
	}
	if err := errors.Join(queue.SyncFolder(r.Dir), backup.OwnAs(r.Dir, folder)); err != nil {
		return fmt.Errorf("reset %s: %w", r.Dir, err)
	}
	r.Deleted = true
	return nil
}

// leaves is what goes of a folder: each name, and what a kill or a power cut left of it
// while it was being written again.
func leaves(dir string, keep bool) (names []string) {
	for _, name := range resetNames {
		names = append(names, name)
		if fresh := name + ".new"; exists(filepath.Join(dir, fresh)) {
			names = append(names, fresh)
		}
	}
	if !keep {
		names = append(names, "config.d")
	}
	return names
}

func resetError(err error) error {
	if errors.Is(err, queue.ErrLocked) {
		return fmt.Errorf("%w: stop the agent first (sudo systemctl stop fieldpost)", err)
	}
	return err
}

// countRings says how many events each ring has, where the store can be opened.
func (a *app) countRings(r *reset) error {
	if !exists(filepath.Join(r.Dir, "state.db")) {
		return nil
	}
	store, err := a.openStopped(r.Dir)
	if errors.Is(err, queue.ErrLocked) {
		return resetError(err)
	}
	if err != nil {
		fmt.Fprintf(a.Err, "fieldpost: the events can't be counted: %s\n", oneLine(err.Error()))
		return nil
	}
	for _, ring := range store.store.Rings() {
		r.Rings = append(r.Rings, resetRing{ring.Name, ring.Last + 1 - ring.First, ring.Bytes})
	}
	return store.close()
}

func (a *app) printReset(r *reset, out format) error {
	if out == asJSON {
		return printJSON(a.Out, r)
	}
	if len(r.Rings) > 0 {
		t := newTable(a.Out, "RING", "EVENTS", "BYTES")
		for _, ring := range r.Rings {
			t.row(ring.Name, count(ring.Events), bytesText(ring.Bytes))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	switch {
	case r.Deleted:
		fmt.Fprintf(a.Out, "%s: deleted %d files, %s\n", r.Dir, r.Files, bytesText(r.Bytes))
	case r.Files == 0:
		fmt.Fprintf(a.Out, "there is nothing in %s\n", r.Dir)
	}
	if len(r.Stay) > 0 {
		fmt.Fprintf(a.Out, "older stores stay: %s\n", printable(strings.Join(r.Stay, ", ")))
	}
	return nil
}

// olderStores are those that a restore left beside a store.
func olderStores(dir string) []string {
	found := []string{}
	beside, _ := os.ReadDir(filepath.Dir(dir)) // what can't be seen can't be told
	for _, e := range beside {
		if name := e.Name(); strings.HasPrefix(name, filepath.Base(dir)+".before-restore") || name == filepath.Base(dir)+".new" {
			found = append(found, filepath.Join(filepath.Dir(dir), name))
		}
	}
	return found
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
