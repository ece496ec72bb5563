package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

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

The new store has an id of its own, and a new epoch begins with its first start. Keys
that were deleted since the backup was made are valid again. The config files of the
backup are put beside it, in FOLDER/config.restored: those in /etc/fieldpost are not
touched.`,
		Example: `  sudo systemctl stop fieldpost
  sudo fieldpost restore /mnt/usb/greenhouse.tar.zst --yes
  sudo systemctl start fieldpost`,
		Args: takes(1, 1, "the file to read"),
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the `folder` to restore to (default: the config's data_dir)")
	cmd.Flags().BoolVar(&yes, "yes", false, "move what is there aside")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		headroom := int64(0)
		if dir == "" {
			cfg, err := a.loadConfig("", nil)
			if err != nil {
				return err
			}
			dir, headroom = cfg.DataDir, int64(cfg.Store.Headroom)
		}
		dir = filepath.Clean(dir)
		from, err := a.openFile(args[0])
		if err != nil {
			return err
		}
		defer from.Close()
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		b := a.bar("restore")
		done, err := backup.Restore(&untilDone{ctx, from}, backup.Options{Dir: dir, Replace: yes, Progress: b.told})
		b.end()
		if err != nil {
			return a.restoreError(err, dir)
		}
		if err := a.tellRestored(done, dir, *out); err != nil {
			return err
		}
		a.tellRoom(done, dir, headroom)
		return nil
	}
	return cmd
}

// untilDone reads until its context ends. What a restore does after it read all is
// short, and is not interrupted.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, errors.New("interrupted: nothing was changed")
	}
	return u.r.Read(b)
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
	if errors.Is(err, backup.ErrNewer) || errors.Is(err, queue.ErrNewer) {
		return withCode(exitUsage, err)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: run it as root (sudo)", err)
	}
	return err
}

// tellRoom says where the restored store would lose events to the headroom: beside
// it lies what was there before.
func (a *app) tellRoom(done *backup.Restored, dir string, headroom int64) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil { // the agent says so later
		return
	}
	free, want := int64(st.Bavail)*int64(st.Bsize), headroomOf(headroom, int64(st.Blocks)*int64(st.Bsize))
	if free >= want {
		return
	}
	cure := "make room"
	if done.Aside != "" {
		cure = "take " + done.Aside + " to another disk, or delete it,"
	}
	fmt.Fprintf(a.Err, "fieldpost: %s free, and the agent keeps %s so by dropping the oldest events: %s before it starts\n", bytesText(free), bytesText(want), cure)
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
	fmt.Fprintf(a.Out, "%s: the store of agent %s up to %s, with a new id and, from its next start on, a new epoch\n", dir, printable(m.Agent), printable(m.Position))
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
