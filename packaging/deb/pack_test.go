package main

import (
	"archive/tar"
	"bytes"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

var made = time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC)

// compiled builds a small static program for an architecture.
func compiled(t *testing.T, goarch, goarm string) string {
	t.Helper()
	dir := t.TempDir()
	code := filepath.Join(dir, "main.go")
	if err := os.WriteFile(code, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "bin"), code)
	cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0", "GOFLAGS=", "GOARCH="+goarch, "GOARM="+goarm)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return filepath.Join(dir, "bin")
}

func packed(t *testing.T, o options) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := pack(o, &buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func amd64(t *testing.T) options {
	t.Helper()
	return options{Root: "../..", Binary: compiled(t, "amd64", ""), Arch: "amd64", Version: "1.2.0-1", MTime: made}
}

func TestControl(t *testing.T) {
	p := readPackage(t, packed(t, amd64(t)))
	if want := []string{"debian-binary", "control.tar.gz", "data.tar.gz"}; !slices.Equal(p.order, want) {
		t.Errorf("the package holds %q, want %q", p.order, want)
	}
	control := p.control["/control"].text
	for _, line := range []string{
		"Package: fieldpost", "Version: 1.2.0-1", "Architecture: amd64", "Section: net", "Priority: optional",
		"Maintainer: " + maintainer, "Depends: systemd (>= 252), init-system-helpers (>= 1.65.2)",
		"Recommends: ca-certificates",
	} {
		if !strings.Contains("\n"+control, "\n"+line+"\n") {
			t.Errorf("control has no line %q:\n%s", line, control)
		}
	}
	if strings.Contains(control, "libc") || strings.Contains(control, "libgpiod") {
		t.Errorf("a static binary depends on no library:\n%s", control)
	}
	if got := p.control["/conffiles"].text; got != "/etc/avahi/services/fieldpost.service\n/etc/fieldpost/fieldpost.yaml\n" {
		t.Errorf("conffiles is %q", got)
	}
	for _, name := range []string{"preinst", "postinst", "prerm", "postrm"} {
		want, err := os.ReadFile(filepath.Join("files", name))
		if err != nil {
			t.Fatal(err)
		}
		got := p.control["/"+name]
		if got.text != string(want) || got.head.Mode != 0o755 {
			t.Errorf("%s is another than files/%s, or has mode %o", name, name, got.head.Mode)
		}
		if out, err := exec.Command("sh", "-n", filepath.Join("files", name)).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", name, out)
		}
	}
}

func TestData(t *testing.T) {
	o := amd64(t)
	o.Notices = filepath.Join(t.TempDir(), "notices")
	if err := os.WriteFile(o.Notices, []byte("of the libraries\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o.Manual = filepath.Join(t.TempDir(), "manual")
	if err := os.WriteFile(o.Manual, []byte(".TH FIELDPOST.YAML 5\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := readPackage(t, packed(t, o))
	modes := map[string]int64{
		"/etc/fieldpost/":                                     0o750,
		"/etc/fieldpost/conf.d/":                              0o755,
		"/etc/fieldpost/fieldpost.yaml":                       0o640,
		"/usr/bin/fieldpost":                                  0o755,
		"/usr/lib/systemd/system/fieldpost.service":           0o644,
		"/usr/lib/systemd/system/fieldpost-firstboot.service": 0o644,
		"/etc/avahi/services/fieldpost.service":               0o644,
		"/usr/share/man/man5/fieldpost.yaml.5.gz":             0o644,
		"/usr/lib/sysusers.d/fieldpost.conf":                  0o644,
		"/usr/lib/udev/rules.d/60-fieldpost.rules":            0o644,
		"/usr/share/doc/fieldpost/NOTICES.gz":                 0o644,
		"/usr/share/doc/fieldpost/changelog.Debian.gz":        0o644,
		"/usr/share/doc/fieldpost/changelog.gz":               0o644,
		"/usr/share/doc/fieldpost/copyright":                  0o644,
		"/usr/share/doc/fieldpost/sbom.cdx.json.gz":           0o644,
		"/usr/share/lintian/overrides/fieldpost":              0o644,
		"/usr/share/man/man8/fieldpost.8.gz":                  0o644,
	}
	for name, mode := range modes {
		if m, ok := p.data[name]; !ok || m.head.Mode != mode {
			t.Errorf("%s is not there, or not with mode %o: %+v", name, mode, m.head)
		}
	}
	for name, m := range p.data {
		if _, known := modes[name]; !known && (m.head.Typeflag != tar.TypeDir || m.head.Mode != 0o755) {
			t.Errorf("%s is there too, with mode %o", name, m.head.Mode)
		}
		if m.head.Uname != "root" && m.head.Uname != "" || m.head.Uid != 0 || m.head.Gid != 0 || !m.head.ModTime.Equal(made) {
			t.Errorf("%s is of %s (%d:%d), at %v", name, m.head.Uname, m.head.Uid, m.head.Gid, m.head.ModTime)
		}
		sum := fmt.Sprintf("%x  %s\n", md5.Sum([]byte(m.text)), strings.TrimPrefix(name, "/"))
		if m.head.Typeflag == tar.TypeReg && !strings.Contains(p.control["/md5sums"].text, sum) {
			t.Errorf("md5sums has no %q", sum)
		}
	}
	changes := unzip(t, p.data["/usr/share/doc/fieldpost/changelog.Debian.gz"].text)
	if !strings.HasPrefix(changes, "fieldpost (1.2.0-1) unstable;") || !strings.HasSuffix(changes, "  Sat, 21 Nov 2026 07:00:00 +0000\n") {
		t.Errorf("changelog.Debian is\n%s", changes)
	}
	if got := unzip(t, p.data["/usr/share/doc/fieldpost/NOTICES.gz"].text); got != "of the libraries\n" {
		t.Errorf("NOTICES is %q", got)
	}
}

func TestTheSameBytesTwice(t *testing.T) {
	o := amd64(t)
	first := packed(t, o)
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(o.Binary, later, later); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	if !bytes.Equal(first, packed(t, o)) {
		t.Error("two packages of the same files differ")
	}
}

func TestAnotherConfig(t *testing.T) {
	o := amd64(t)
	o.Config = filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(o.Config, []byte("data_dir: /x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := readPackage(t, packed(t, o))
	if got := p.data["/etc/fieldpost/fieldpost.yaml"].text; got != "data_dir: /x\n" {
		t.Errorf("the config is %q", got)
	}
}

func TestBinaryHasToFit(t *testing.T) {
	armv6 := compiled(t, "arm", "6")
	if err := checkBinary(armv6, "armhf"); err != nil {
		t.Error(err)
	}
	if err := checkBinary(armv6, "arm64"); err == nil || !strings.Contains(err.Error(), "for arm, not for arm64") {
		t.Errorf("an ARMv6 binary for arm64: %v", err)
	}
	if err := checkBinary(armv6, "riscv64"); err == nil {
		t.Error("riscv64 is no architecture of ours")
	}
	setting := func(pairs ...string) (out []debug.BuildSetting) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, debug.BuildSetting{Key: pairs[i], Value: pairs[i+1]})
		}
		return out
	}
	for _, tt := range []struct {
		arch string
		got  []debug.BuildSetting
		want string // "": it fits
	}{
		{"armhf", setting("GOOS", "linux", "GOARCH", "arm", "GOARM", "6", "CGO_ENABLED", "0"), ""},
		{"armhf", setting("GOOS", "linux", "GOARCH", "arm", "GOARM", "7", "CGO_ENABLED", "0"), "it is for ARMv7, not for ARMv6"},
		{"arm64", setting("GOOS", "linux", "GOARCH", "arm64", "CGO_ENABLED", "1"), "it was built with cgo"},
		{"arm64", setting("GOOS", "darwin", "GOARCH", "arm64", "CGO_ENABLED", "0"), "it is for darwin, not for linux"},
	} {
		if err := checkSettings(tt.got, targets[tt.arch]); (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%v for %s: %v, want %q", tt.got, tt.arch, err, tt.want)
		}
	}
}

func TestRunWritesOneWholeFile(t *testing.T) {
	dir := t.TempDir()
	var out, complaints bytes.Buffer
	args := []string{"-binary", compiled(t, "amd64", ""), "-arch", "amd64", "-version", "v1.2.0", "-mtime", "1790000000", "-out", dir}
	if err := run(args, &out, &complaints); err != nil {
		t.Fatalf("%v\n%s", err, &complaints)
	}
	path := filepath.Join(dir, "fieldpost_1.2.0-1_amd64.deb")
	if out.String() != path+"\n" {
		t.Errorf("it printed %q, want %q", out.String(), path)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
		t.Errorf("%s: %v, %v", path, info, err)
	}
	args[3] = "arm64"
	if err := run(args, &out, &complaints); err == nil {
		t.Error("the amd64 binary went into a package for arm64")
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 1 {
		t.Errorf("there is %q, %v", names, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) != 0 {
		t.Errorf("%q was left behind, %v", left, err)
	}
}

// A binary over 20 MB, and a package over 12 MB, is a mistake that no Pi Zero should find.
func TestSizes(t *testing.T) {
	o := amd64(t)
	o.Notices = filepath.Join(t.TempDir(), "notices")
	noise := make([]byte, maxPackage)              // what gzip can't make smaller
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // it never fails
	if err := os.WriteFile(o.Notices, noise, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if path, err := write(o, dir); err == nil || !strings.Contains(err.Error(), "at most 12000000") {
		t.Errorf("a large package: %s, %v", path, err)
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) != 0 {
		t.Errorf("it left %q", left)
	}
	o.Notices = ""
	if err := os.Truncate(o.Binary, maxBinary+1); err != nil {
		t.Fatal(err)
	}
	if err := pack(o, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "at most 20000000") {
		t.Errorf("a large binary: %v", err)
	}
}

func TestNoTimeIsAnError(t *testing.T) {
	o := amd64(t)
	o.MTime = time.Unix(0, 0)
	if err := pack(o, &bytes.Buffer{}); err == nil {
		t.Error("a package without a time is not the same twice")
	}
}

// The bill of materials names what the binary was really built from.
func TestBillOfMaterials(t *testing.T) {
	o := amd64(t)
	text, err := o.sbom()
	if err != nil {
		t.Fatal(err)
	}
	var b bom
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		t.Fatal(err)
	}
	if len(b.Components) != 1 || b.Components[0].Name != "stdlib" || "go"+b.Components[0].Version != runtime.Version() {
		t.Errorf("a program without libraries holds %+v", b.Components)
	}
	if c := b.Metadata.Component; c.Version != "1.2.0-1" || len(c.Hashes) != 1 || len(c.Hashes[0].Content) != 64 {
		t.Errorf("it is %+v", c)
	}
	own, err := os.Executable() // this test, which has libraries
	if err != nil {
		t.Fatal(err)
	}
	o.Binary = own
	if text, err = o.sbom(); err != nil || !strings.Contains(text, `"pkg:golang/github.com/goreleaser/nfpm/v2@v2.`) {
		t.Errorf("%v: nfpm is not in %.2000s", err, text)
	}
}

// Completions are shipped where each shell looks for them.
func TestCompletions(t *testing.T) {
	o := amd64(t)
	o.Shells = t.TempDir()
	for _, c := range completions {
		if err := os.WriteFile(filepath.Join(o.Shells, c.from), []byte("# "+c.from+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := readPackage(t, packed(t, o))
	for _, c := range completions {
		if f := p.data[c.to]; f.text != "# "+c.from+"\n" || f.head.Mode != 0o644 {
			t.Errorf("%s is %q, mode %o", c.to, f.text, f.head.Mode)
		}
	}
}
