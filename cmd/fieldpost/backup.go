package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"fieldpost/edge/agent"
	"fieldpost/edge/backup"
	"fieldpost/edge/config"
	"fieldpost/queue"
)

func backupVerb(a *app) *cobra.Command {
	var dir, path string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Writes the store and the config into one file, beside a running agent too",
		Long: `Writes the store, what the API changed of the config, and the config files into
FILE (- is the standard output), a .tar.zst. It asks the running agent, which goes on
meanwhile: every event that was acknowledged before is in it. Without an agent it
reads the store itself. FILE is there whole or not at all, and was read back; an older
backup of that name is replaced, any other file is not.

Secrets that stand in the config are in it: keep it as you keep them. Those that the
config reads from elsewhere (file:, env:, cred:) are not, and are named at the end.`,
		Example: `  sudo fieldpost backup /mnt/usb/greenhouse.tar.zst
  sudo fieldpost backup - | ssh nas "cat > greenhouse.tar.zst"`,
		Args: takes(1, 1, "the file to write"),
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the store in this `folder`; its agent must be stopped")
	cmd.Flags().StringVarP(&path, "config", "c", "", "the config `file`, where no agent runs")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if args[0] == "-" && *out == asJSON {
			return usagef("backup: -o json and the backup itself can't both go to the standard output")
		}
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		m, size, err := a.backup(ctx, args[0], dir, path)
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("backup: interrupted: %w", ctx.Err())
		}
		if err != nil {
			return err
		}
		return a.tellBackup(args[0], m, size, *out)
	}
	return cmd
}

// backup writes the file, and gives what is in it and its bytes.
func (a *app) backup(ctx context.Context, file, dir, path string) (*backup.Manifest, int64, error) {
	if file != "-" {
		if err := mayReplace(file); err != nil {
			return nil, 0, fmt.Errorf("write %s: %w", file, err)
		}
	}
	var from io.ReadCloser
	var err error
	if dir == "" {
		from, err = a.liveBackup(ctx)
	}
	if dir != "" || exitCode(err) == exitNoAgent {
		from, err = a.stoppedBackup(dir, path, err)
	}
	if err != nil {
		return nil, 0, err
	}
	defer from.Close()
	go func() { // a signal ends the copy of a stopped store too
		<-ctx.Done()
		from.Close()
	}()
	b := a.bar("backup")
	defer b.end()
	if file == "-" {
		return copyChecked(a.Out, from, b.told)
	}
	m, size, err := writeBackup(file, from, b.told)
	if err != nil {
		return nil, 0, fmt.Errorf("write %s: %w", file, err)
	}
	return m, size, nil
}

// liveBackup asks the running agent.
func (a *app) liveBackup(ctx context.Context) (io.ReadCloser, error) {
	c := a.client()
	resp, err := c.open(ctx, http.MethodGet, "/v1/backup", nil, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// stoppedBackup reads a store that no agent has open. noAgent is what the agent's
// socket said; it stands where there is no store either.
func (a *app) stoppedBackup(dir, path string, noAgent error) (io.ReadCloser, error) {
	cfg, err := a.loadConfig(path, nil)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		if dir = cfg.DataDir; !exists(filepath.Join(dir, "state.db")) {
			return nil, noAgent
		}
	}
	cfg.DataDir = dir
	store, err := a.openStopped(dir)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	s := &stoppedStream{r, make(chan struct{})}
	go func() {
		defer close(s.closed)
		err := store.backup(w, cfg)
		if cerr := store.close(); err == nil {
			err = cerr
		}
		_ = w.CloseWithError(err) // never fails
	}()
	return s, nil
}

// stoppedStream is the backup of a stopped store as it is written. Its end comes, and
// Close returns, once the store is closed.
type stoppedStream struct {
	*io.PipeReader
	closed chan struct{}
}

func (s *stoppedStream) Close() error {
	err := s.PipeReader.Close()
	<-s.closed
	return err
}

// backup writes the store as it is.
func (s *stoppedStore) backup(w io.Writer, cfg *config.Config) error {
	snap, err := s.store.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	_, err = backup.Write(w, agent.BackupSource(cfg, snap, s.agent, thisBuild().Version))
	return err
}

// zstdMagic is what a backup begins with (RFC 8878, 3.1.1).
const zstdMagic = "\x28\xb5\x2f\xfd"

// mayReplace refuses to put a backup in the place of what is no backup: a config whose
// name was given by mistake, or a device.
func mayReplace(file string) error {
	info, err := os.Stat(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is no file: give the name of one, or - for the standard output")
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	begins := make([]byte, len(zstdMagic))
	n, err := io.ReadFull(f, begins)
	if n == 0 || string(begins) == zstdMagic {
		return nil
	}
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return errors.New("it is there, and is no backup: give another name, or delete it first")
}

// writeBackup writes a file whole or not at all.
func writeBackup(file string, from io.Reader, progress backup.Progress) (m *backup.Manifest, size int64, err error) {
	fresh := file + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) { // of one that was cut off
		return nil, 0, err
	}
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, 0, err
	}
	m, size, err = copyChecked(f, from, progress)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(fresh, file)
	}
	if err != nil {
		return nil, 0, errors.Join(err, removeIfThere(fresh))
	}
	return m, size, queue.SyncFolder(filepath.Dir(file))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// copyChecked copies a backup and reads it as it passes: what is no whole backup is
// an error.
func copyChecked(to io.Writer, from io.Reader, progress backup.Progress) (*backup.Manifest, int64, error) {
	r, w := io.Pipe()
	type verdict struct {
		m   *backup.Manifest
		err error
	}
	checked := make(chan verdict, 1)
	go func() {
		m, err := backup.Check(r, progress)
		_, _ = io.Copy(io.Discard, r) // the copy itself goes on to its end
		checked <- verdict{m, err}
	}()
	n, err := io.Copy(io.MultiWriter(to, w), from)
	_ = w.CloseWithError(err) // nil is the end; it never fails
	v := <-checked
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, n, errors.New("the agent ended it early: its log says why")
	case err != nil:
		return nil, n, err
	}
	return v.m, n, v.err
}

// tellBackup says what was written; beside the backup itself it goes to the errors.
func (a *app) tellBackup(file string, m *backup.Manifest, size int64, out format) error {
	if out == asJSON {
		return printJSON(a.Out, struct {
			File  string `json:"file"`
			Bytes int64  `json:"bytes"`
			*backup.Manifest
		}{file, size, m})
	}
	w, name := a.Out, file
	if file == "-" {
		w, name = a.Err, "the standard output"
	}
	fmt.Fprintf(w, "%s: %s of agent %s up to %s, %d files of config\n", name, bytesText(size), printable(m.Agent), m.Position, len(m.Configs()))
	if len(m.LeftOut) > 0 {
		fmt.Fprintf(w, "not in it, since the config only refers to it: %s\n", printable(strings.Join(m.LeftOut, ", ")))
	}
	return nil
}
