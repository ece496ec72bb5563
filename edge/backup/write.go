package backup

import (
	"archive/tar"
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
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"fieldpost/queue"
)

// Source is what a backup is made of.
type Source struct {
	Snapshot *queue.Snapshot
	DataDir  string   // whose config.d goes along
	Config   []string // the config files that the agent runs with
	LeftOut  []string // secrets that the config only refers to; Write adds the files of Config that are gone
	Agent    string
	Version  string
}

// Bounds of the config files that go along, which are held in RAM.
const (
	maxConfigFile  = 1 << 20
	maxConfigBytes = 16 << 20
)

// Write writes a backup to w as it goes: it blocks on w and on the disk. It does
// not close the snapshot. What w got before an error is no backup.
func Write(w io.Writer, src Source) (*Manifest, error) {
	configs, err := src.configs()
	if err != nil {
		return nil, fmt.Errorf("back up the config: %w", err)
	}
	m := src.manifest(configs)
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("write backup: %w", err)
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("write backup: %w", err)
	}
	a := &archive{tar: tar.NewWriter(z), made: m.Made, sums: map[string]string{}}
	if err := a.all(m, src.Snapshot.Files, configs); err != nil {
		_ = z.Close() // the file is none already
		return nil, fmt.Errorf("write backup: %w", err)
	}
	if err := errors.Join(a.tar.Close(), z.Close()); err != nil {
		return nil, fmt.Errorf("write backup: %w", err)
	}
	return m, nil
}

func (src *Source) manifest(configs []content) *Manifest {
	s := src.Snapshot
	m := &Manifest{Format: Format, Made: time.Now().UTC().Truncate(time.Second), Version: src.Version, Agent: src.Agent, Store: s.ID,
		Epoch: fmt.Sprintf("%08x", s.Epoch), Position: fmt.Sprintf("%08x.%d", s.Epoch, s.LastN), LeftOut: slices.Sorted(slices.Values(src.LeftOut))}
	if m.LeftOut == nil {
		m.LeftOut = []string{}
	}
	for _, f := range s.Files {
		m.Members = append(m.Members, Member{storeDir + f.Name, f.Size})
	}
	for _, c := range configs {
		m.Members = append(m.Members, Member{c.name, int64(len(c.text))})
	}
	return m
}

// archive writes members and remembers their sums.
type archive struct {
	tar  *tar.Writer
	made time.Time
	sums map[string]string // hex, by member
}

func (a *archive) all(m *Manifest, files []*queue.SnapshotFile, configs []content) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := a.member(manifestName, int64(len(text)), bytes.NewReader(text)); err != nil {
		return err
	}
	for _, f := range files {
		if err := a.member(storeDir+f.Name, f.Size, f); err != nil {
			return err
		}
	}
	for _, c := range configs {
		if err := a.member(c.name, int64(len(c.text)), bytes.NewReader(c.text)); err != nil {
			return err
		}
	}
	if text, err = json.Marshal(a.sums); err != nil {
		return err
	}
	return a.member(sumsName, int64(len(text)), bytes.NewReader(text))
}

func (a *archive) member(name string, size int64, from io.WriterTo) error {
	err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: a.made})
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := from.WriteTo(io.MultiWriter(a.tar, sum)); err != nil {
		return err
	}
	a.sums[name] = hex.EncodeToString(sum.Sum(nil))
	return a.tar.Flush() // an error where the member is shorter than its header says
}

// content is a small file.
type content struct {
	name string // of the member
	text []byte
}

// configs reads config.d and the config files.
func (src *Source) configs() (all []content, err error) {
	panel := filepath.Join(src.DataDir, "config.d")
	total := 0
	add := func(name, path string) error {
		text, err := readSmall(path)
		if total += len(text); err == nil && total > maxConfigBytes {
			err = fmt.Errorf("%s: there are over %d bytes of config", path, maxConfigBytes)
		}
		all = append(all, content{name, text})
		return err
	}
	err = filepath.WalkDir(panel, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(panel, path)
		if err != nil {
			return err
		}
		return add(panelDir+filepath.ToSlash(rel), path)
	})
	if err != nil {
		return nil, err
	}
	for _, path := range src.Config {
		if path, err = filepath.Abs(path); err != nil {
			return nil, err
		}
		if strings.HasPrefix(path, panel+string(filepath.Separator)) {
			continue
		}
		err := add(configDir+strings.TrimPrefix(filepath.ToSlash(path), "/"), path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) { // no reason to lose the store too
			all = all[:len(all)-1]
			src.LeftOut = append(slices.Clone(src.LeftOut), "file:"+path)
		} else if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// readSmall reads a file of bounded size.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err == nil && len(text) > maxConfigFile {
		err = fmt.Errorf("%s: it is over %d bytes", path, maxConfigFile)
	}
	return text, err
}
