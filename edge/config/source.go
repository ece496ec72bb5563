package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Bounds of what is read: a config is written by hand.
const (
	maxFile  = 1 << 20
	maxFiles = 256 // in conf.d
)

// Source says where the config comes from. The zero Source searches the usual
// places and knows no plug-in.
type Source struct {
	Path   string            // the file of --config; "": the search list
	Env    []string          // NAME=value, as os.Environ gives them; nil: none
	Flags  map[string]string // by key, such as "api.listen"; over everything else
	Tables Tables
	Plain  bool // run by a plain user (PlainUser): files belong in the home folder, unless the config is the system's
}

// Load reads, merges, checks and decodes the config. It blocks on the file system
// and changes nothing there. Its error is a *Problems with every mistake.
func Load(src Source) (*Config, error) {
	l := &loader{src: src, root: &node{shape: dict}, probs: &Problems{}, open: make(map[string]bool)}
	l.files()
	outs := outsideValues(src, l.probs)
	dataDir := l.dataDir(outs)
	l.panel(dataDir)
	for _, o := range outs {
		overlay(l.root, o, l.probs)
	}
	cfg := l.typed(dataDir)
	if err := l.probs.err(); err != nil {
		return nil, err
	}
	cfg.Files = l.read
	cfg.Warnings = l.warnings
	cfg.Replaced = l.pn.replaced
	cfg.Hash = hashOf(cfg.Redacted())
	cfg.tree = l.root
	return cfg, nil
}

// loader is the state of one Load.
type loader struct {
	src      Source
	root     *node
	probs    *Problems
	read     []string
	open     map[string]bool // files that everyone on the machine may read
	pn       panel
	warnings []string
}

// searchList is where the main file may be when nobody says.
func searchList(env []string) []string {
	home, list := lookup(env, "HOME"), []string{"./fieldpost.yaml"}
	if home != "" {
		list = append(list, filepath.Join(home, ".fieldpost.yaml"))
	}
	xdg := lookup(env, "XDG_CONFIG_HOME")
	if !filepath.IsAbs(xdg) && home != "" {
		xdg = filepath.Join(home, ".config")
	}
	if xdg != "" {
		list = append(list, filepath.Join(xdg, "fieldpost", "fieldpost.yaml"))
	}
	return append(list, systemConfig)
}

// files reads the main file and conf.d beside it into the root.
func (l *loader) files() {
	main := l.src.Path
	if main == "" {
		list := searchList(l.src.Env)
		i := slices.IndexFunc(list, exists)
		if i < 0 {
			l.warn("no config file (" + strings.Join(list, ", ") + "): running on defaults, with no devices and no uplinks")
			return
		}
		main = list[i]
	}
	if main == systemConfig {
		l.src.Plain = false // the package's agent runs with it, whoever looks
	}
	l.file(main)
	more, err := filepath.Glob(filepath.Join(escapeGlob(filepath.Dir(main)), "conf.d", "*.yaml"))
	if err != nil || len(more) > maxFiles {
		l.probs.add(place{file: filepath.Join(filepath.Dir(main), "conf.d")}, fmt.Sprintf("there are over %d files", maxFiles), "join some of them")
		return
	}
	slices.Sort(more)
	for _, name := range more {
		l.file(name)
	}
}

// file merges one file into the root.
func (l *loader) file(name string) {
	if tree := l.tree(name); tree != nil {
		merge(nil, l.root, tree, l.probs)
	}
}

// tree reads and parses one file; nil where it can't be read, which it tells.
func (l *loader) tree(name string) *node {
	b, everyone, err := readFile(name)
	if err != nil {
		l.probs.add(place{file: name}, "can't be read: "+cause(err), readCure(err))
		return nil
	}
	l.read = append(l.read, name)
	l.open[name] = everyone
	return parse(name, b, l.probs)
}

// panel puts panel.yaml over the root, where there is one.
func (l *loader) panel(dataDir string) {
	l.pn = panel{file: filepath.Join(dataDir, "config.d", "panel.yaml"), replaced: make(map[string]string)}
	if dataDir == "" || !exists(l.pn.file) {
		return
	}
	if tree := l.tree(l.pn.file); tree != nil {
		l.pn.apply(l.root, tree, l.probs)
		l.warnings = append(l.warnings, l.pn.warnings...)
	}
}

// dataDir settles data_dir before the rest, since panel.yaml is in it. A value
// of the wrong kind is left to the check, and gives "".
func (l *loader) dataDir(outs []outside) string {
	n := l.root.get("data_dir")
	for _, o := range outs {
		if len(o.keys) == 1 && o.keys[0] == "data_dir" {
			n = o.val
		}
	}
	switch {
	case n == nil:
		return DefaultDataDir(l.src.Plain, l.src.Env)
	case n.shape != scalar:
		return ""
	case n.text == "" || strings.HasPrefix(n.text, "~"):
		l.probs.add(n.at, "data_dir: "+quote(n.text)+" is no folder", "write the whole path, like "+systemDataDir)
		return ""
	}
	return filepath.Clean(n.text)
}

func (l *loader) warn(text string) { l.warnings = append(l.warnings, text) }

// exists reports whether something is there; what can't be looked at is for the
// read to tell.
func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission)
}

// readFile reads a regular file of bounded size and says whether everyone on the
// machine may read it.
func readFile(name string) (b []byte, everyone bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	if st.IsDir() {
		return nil, false, errors.New("it is a folder")
	}
	b, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("it is over %d bytes", maxFile)
	}
	return b, st.Mode().IsRegular() && st.Mode().Perm()&0o004 != 0, err
}

// cause is err without the path, which the problem begins with.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return err.Error()
}

func readCure(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "give --config the file that you mean"
	case errors.Is(err, fs.ErrPermission):
		return "let the agent's user read it (chgrp fieldpost, chmod 640)"
	}
	return ""
}

// escapeGlob keeps a folder's name from being read as a pattern.
func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
