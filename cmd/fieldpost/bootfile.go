package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf16"
	"unicode/utf8"

	"fieldpost/edge/config"
	"fieldpost/queue"
)

// maxBoot bounds the file, in bytes, as the config bounds its own.
const maxBoot = 1 << 20

// readBootFile reads a regular file of bounded size. A link is none: root would read,
// and then wipe, what it leads to.
func readBootFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("read %s: it is a link: put the file itself there", path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("read %s: it is no file", path))
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxBoot+1))
	if err == nil && len(raw) > maxBoot {
		err = fmt.Errorf("read %s: it is over %d bytes", path, maxBoot)
	}
	return raw, err
}

// bootText is the text of a file that an editor of any system wrote: UTF-8, without a
// byte order mark, with lines that end as here. The text comes with an error too.
func bootText(raw []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(raw, []byte{0xff, 0xfe}):
		raw = fromUTF16(raw[2:], 0)
	case bytes.HasPrefix(raw, []byte{0xfe, 0xff}):
		raw = fromUTF16(raw[2:], 1)
	default:
		raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	}
	text := bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	if !utf8.Valid(text) {
		return text, errors.New("it is not UTF-8: have your editor save it as UTF-8")
	}
	return text, nil
}

// fromUTF16 reads pairs of bytes, whose low one is at the place given.
func fromUTF16(raw []byte, low int) []byte {
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = uint16(raw[2*i+low]) | uint16(raw[2*i+1-low])<<8
	}
	return []byte(string(utf16.Decode(units)))
}

// wipedText reports whether a file is what a power cut left of wiping it: no text begins
// or ends with two zeros. UTF-16 has one between its letters.
func wipedText(text []byte) bool {
	zeros := []byte{0, 0}
	return bytes.HasPrefix(text, zeros) || bytes.HasSuffix(text, zeros)
}

func sumText(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// bootMark is what is kept of a file that was taken.
type bootMark struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"` // of its text
}

// bootMark reads the mark; one that can't be read is still a mark.
func (a *app) bootMark() (m bootMark, ok bool) {
	raw, err := os.ReadFile(a.Root + bootStamp)
	if err != nil {
		return m, !errors.Is(err, fs.ErrNotExist)
	}
	_ = json.Unmarshal(raw, &m) // without its sum the file is not told from another
	return m, true
}

func (a *app) markBoot(file string, text []byte) error {
	raw, err := json.Marshal(bootMark{file, sumText(text)})
	if err != nil {
		return err
	}
	return queue.WriteFile(a.Root+bootStamp, append(raw, '\n'))
}

// ownAsFolder gives a file to root and to the group of the folder, which may read it.
func ownAsFolder(path string, folder fs.FileInfo) error {
	st, ok := folder.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("own %s: no group is known", path)
	}
	if err := os.Chown(path, -1, int(st.Gid)); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o640); err != nil {
		return err
	}
	return syncFile(path)
}

// checkBoot checks the whole config as it would be with the text in it. Problems name
// the files as they are called in truth.
func (a *app) checkBoot(file string, text []byte) (warnings []string, err error) {
	dir, err := os.MkdirTemp("", "fieldpost-boot-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := a.gatherConfig(dir, text); err != nil {
		return nil, fmt.Errorf("check %s: %w", file, err)
	}
	names := strings.NewReplacer(dir+"/conf.d/"+filepath.Base(bootConfig), file, dir, confFolder)
	cfg, err := a.loadConfig(filepath.Join(dir, bootName), nil)
	var probs *config.Problems
	if errors.As(err, &probs) {
		for i := range probs.List {
			p := &probs.List[i]
			p.File, p.What, p.Cure = names.Replace(p.File), names.Replace(p.What), names.Replace(p.Cure)
		}
	}
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings {
		warnings = append(warnings, names.Replace(w))
	}
	return warnings, nil
}

// gatherConfig makes a folder that has links to the config's files, and the text in
// the place where it will be.
func (a *app) gatherConfig(dir string, text []byte) error {
	main, conf := filepath.Join(a.Root+confFolder, bootName), filepath.Join(dir, "conf.d")
	if err := os.Mkdir(conf, 0o700); err != nil {
		return err
	}
	more, err := filepath.Glob(filepath.Join(a.Root+confFolder, "conf.d", "*.yaml"))
	if err != nil {
		return err
	}
	for _, name := range more {
		if filepath.Base(name) == filepath.Base(bootConfig) {
			continue
		}
		if err := os.Symlink(name, filepath.Join(conf, filepath.Base(name))); err != nil {
			return err
		}
	}
	if exists(main) {
		err = os.Symlink(main, filepath.Join(dir, bootName))
	} else {
		err = os.WriteFile(filepath.Join(dir, bootName), nil, 0o600)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(conf, filepath.Base(bootConfig)), text, 0o600)
}

// refuseBoot says beside the file why it was not taken, for who looks at the card on
// a PC, and gives the error. A partition that can't be written has the journal alone.
func (a *app) refuseBoot(file string, why error) error {
	var note strings.Builder
	fmt.Fprintf(&note, "%s was not taken up:\r\n\r\n", bootName)
	for _, line := range problemLines(why) {
		note.WriteString(line + "\r\n")
	}
	note.WriteString("\r\nMend it here, and start the board again.\r\n")
	err := withCode(exitUsage, why)
	if werr := writeNote(a.Root+file+".error", note.String()); werr != nil {
		fmt.Fprintf(a.Err, "fieldpost: warning: this can't be written beside it: %s\n", oneLine(werr.Error()))
	}
	return err
}

// writeNote writes a small file durably, where it does not stand there already: cards
// wear.
func writeNote(path, text string) error {
	if have, err := os.ReadFile(path); err == nil && string(have) == text {
		return nil
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	return errors.Join(syncFile(path), queue.SyncFolder(filepath.Dir(path)))
}

// wipeBoot takes the file from the partition: what it held is overwritten first, as it
// may be a password. What stands in the way is a warning, for the config is taken.
func (a *app) wipeBoot(file string, warnings []string) []string {
	path := a.Root + file
	err := overwrite(path)
	if err == nil {
		err = writeNote(path+".taken", fmt.Sprintf("%s was taken up: it is %s of this card now, and gone from here,\r\nas everyone who holds the card can read this partition.\r\n", bootName, bootConfig))
	}
	if err == nil {
		err = os.Remove(path)
	}
	if note := path + ".error"; exists(note) { // a read-only partition refuses to remove what is not there too
		err = errors.Join(err, os.Remove(note))
	}
	if err == nil {
		err = queue.SyncFolder(filepath.Dir(path))
	}
	if err != nil {
		warnings = append(warnings, fmt.Sprintf("%s was taken up, and can't be wiped: who holds the card can read what is in it: %v", file, err))
	}
	return warnings
}

// syncFile makes what a file holds durable, and its owner and mode.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// overwrite puts zeros in the place of what a file holds.
func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(make([]byte, st.Size()), 0); err != nil {
		return err
	}
	return f.Sync()
}
