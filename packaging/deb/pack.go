package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
)

const maintainer = "Fieldpost maintainers <maintainers@fieldpost.example>"

const description = `edge agent for the GPIO, I2C and serial devices of a Raspberry Pi
Fieldpost reads the sensors wired to the board, writes every event to a durable
ring on the SD card, serves them to the LAN over REST and WebSocket, and
forwards them to an upstream broker whenever there is a line to it.

What it has accepted is not lost by a power cut, a kill, a full disk, a dead
broker or a wrong clock; what had to be dropped it counts and tells.`

// options say what goes into one package.
type options struct {
	Root    string // the source's folder
	Binary  string
	Arch    string // Debian's name
	Config  string // "": packaging/fieldpost.yaml
	Notices string // "": none
	Shells  string // the folder with the completions fieldpost.bash, .zsh and .fish; "": none
	Manual  string // the file with the manual page fieldpost.yaml(5); "": none
	Version version
	MTime   time.Time
}

// source is one file of the package: where it comes from, where it goes.
type source struct {
	from string
	to   string
	mode fs.FileMode
	kind string // of nfpm; "" is a plain file
}

// pack writes the package.
func pack(o options, w io.Writer) error {
	if o.MTime.Unix() <= 0 {
		return fmt.Errorf("pack: no time: give -mtime, in seconds since 1970")
	}
	if err := checkBinary(o.Binary, o.Arch); err != nil {
		return err
	}
	made, err := os.MkdirTemp("", "fieldpost-deb-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(made) }()
	contents, err := o.contents(made)
	if err != nil {
		return err
	}
	if err := deb.Default.Package(o.info(contents), w); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return nil
}

// info is the package as nfpm wants it.
func (o options) info(contents files.Contents) *nfpm.Info {
	script := func(name string) string { return filepath.Join(o.Root, "packaging/deb/files", name) }
	return nfpm.WithDefaults(&nfpm.Info{
		Name:            "fieldpost",
		Arch:            o.Arch,
		Platform:        "linux",
		Version:         string(o.Version),
		VersionSchema:   "none",
		Section:         "net",
		Priority:        "optional",
		Maintainer:      maintainer,
		Description:     description,
		MTime:           o.MTime,
		DisableGlobbing: true,
		Overridables: nfpm.Overridables{
			Depends:    []string{"systemd (>= 252)", "init-system-helpers (>= 1.65.2)"},
			Recommends: []string{"ca-certificates"},
			Suggests:   []string{"mosquitto"},
			Contents:   contents,
			Umask:      0o022,
			Scripts: nfpm.Scripts{
				PreInstall:  script("preinst"),
				PostInstall: script("postinst"),
				PreRemove:   script("prerm"),
				PostRemove:  script("postrm"),
			},
		},
	})
}

// sources is the table of what is in the package. What it does not find in the
// tree it makes in the folder given.
func (o options) sources(made string) ([]source, error) {
	in := func(name string) string { return filepath.Join(o.Root, filepath.FromSlash(name)) }
	config := o.Config
	if config == "" {
		config = in("packaging/fieldpost.yaml")
	}
	list := []source{
		{o.Binary, "/usr/bin/fieldpost", 0o755, ""},
		{in("packaging/systemd/fieldpost.service"), "/usr/lib/systemd/system/fieldpost.service", 0o644, ""},
		{in("packaging/systemd/fieldpost-firstboot.service"), "/usr/lib/systemd/system/fieldpost-firstboot.service", 0o644, ""},
		{in("packaging/systemd/fieldpost.sysusers"), "/usr/lib/sysusers.d/fieldpost.conf", 0o644, ""},
		{in("packaging/systemd/60-fieldpost.rules"), "/usr/lib/udev/rules.d/60-fieldpost.rules", 0o644, ""},
		{config, "/etc/fieldpost/fieldpost.yaml", 0o640, files.TypeConfig},
		{in("packaging/systemd/fieldpost.avahi"), "/etc/avahi/services/fieldpost.service", 0o644, files.TypeConfig},
		// postinst gives the folder to the group; what is below needs no owner of its own.
		{"", "/etc/fieldpost", 0o750, files.TypeDir},
		{"", "/etc/fieldpost/conf.d", 0o755, files.TypeDir},
		{in("packaging/deb/files/copyright"), "/usr/share/doc/fieldpost/copyright", 0o644, ""},
		{in("packaging/deb/files/lintian-overrides"), "/usr/share/lintian/overrides/fieldpost", 0o644, ""},
	}
	entry := fmt.Sprintf("fieldpost (%s) unstable; urgency=medium\n\n  * Built from the source; what changed is in changelog.gz.\n\n -- %s  %s\n",
		o.Version, maintainer, o.MTime.Format(time.RFC1123Z))
	for _, c := range completions {
		if o.Shells != "" {
			list = append(list, source{filepath.Join(o.Shells, c.from), c.to, 0o644, ""})
		}
	}
	materials, err := o.sbom()
	if err != nil {
		return nil, err
	}
	zipped := []struct {
		from string // a file, or else
		text string
		to   string
	}{
		{in("packaging/deb/files/fieldpost.8"), "", "/usr/share/man/man8/fieldpost.8.gz"},
		{o.Manual, "", "/usr/share/man/man5/fieldpost.yaml.5.gz"},
		{in("CHANGELOG.md"), "", "/usr/share/doc/fieldpost/changelog.gz"},
		{"", entry, "/usr/share/doc/fieldpost/changelog.Debian.gz"},
		{o.Notices, "", "/usr/share/doc/fieldpost/NOTICES.gz"},
		{"", materials, "/usr/share/doc/fieldpost/sbom.cdx.json.gz"},
	}
	for _, z := range zipped {
		if z.from == "" && z.text == "" {
			continue
		}
		path := filepath.Join(made, filepath.Base(z.to))
		if err := zipTo(path, z.from, z.text); err != nil {
			return nil, err
		}
		list = append(list, source{path, z.to, 0o644, ""})
	}
	return list, nil
}

// completions are the shells' own, which the program itself writes, and where Debian's
// shells look for those of a package.
var completions = []struct{ from, to string }{
	{"fieldpost.bash", "/usr/share/bash-completion/completions/fieldpost"},
	{"fieldpost.zsh", "/usr/share/zsh/vendor-completions/_fieldpost"},
	{"fieldpost.fish", "/usr/share/fish/vendor_completions.d/fieldpost.fish"},
}

// contents is the table in nfpm's words.
func (o options) contents(made string) (files.Contents, error) {
	list, err := o.sources(made)
	if err != nil {
		return nil, err
	}
	var out files.Contents
	for _, s := range list {
		out = append(out, &files.Content{
			Source:      s.from,
			Destination: s.to,
			Type:        s.kind,
			FileInfo:    &files.ContentFileInfo{Owner: "root", Group: "root", Mode: s.mode, MTime: o.MTime},
		})
	}
	return out, nil
}

// zipTo compresses a file, or where there is none the text.
func zipTo(path, from, text string) error {
	raw := []byte(text)
	if from != "" {
		b, err := os.ReadFile(from)
		if err != nil {
			return fmt.Errorf("read %s: %w", filepath.Base(from), err)
		}
		raw = b
	}
	packed, err := zip(raw)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, packed, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

// zip compresses as Debian's policy wants it: best, without name and time.
func zip(text []byte) ([]byte, error) {
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if _, err := z.Write(text); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return buf.Bytes(), nil
}
