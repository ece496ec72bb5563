package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// importRules is who may import whom (DESIGN.md section 2), by package path
// below the module and what is under it. A name with a dot is another module, and
// stands for all of it; the standard library is free to all.
var importRules = []struct {
	pkg string
	may []string
}{
	{pkg: "queue", may: []string{"go.etcd.io/bbolt", "github.com/klauspost/compress"}},
	{pkg: "edge/config", may: []string{"edge", "github.com/spf13/viper", "github.com/go-viper/mapstructure", "go.yaml.in/yaml"}},
	{pkg: "edge/dial", may: []string{"edge", "golang.org/x/sys"}},
	{pkg: "edge/react", may: []string{"edge", "edge/dial", "queue", otherModules}},
	{pkg: "edge/backup", may: []string{"queue", "github.com/klauspost/compress", "golang.org/x/sys"}},
	{pkg: "edge/edgetest", may: []string{"edge", "queue", otherModules}},
	{pkg: "edge/agent", may: []string{everything}},
	{pkg: "edge", may: []string{"queue", "golang.org/x/sys"}},
	{pkg: "gpio", may: []string{"edge", "edge/dial", "queue", otherModules}},
	{pkg: "uplink", may: []string{"edge", "edge/dial", "queue", otherModules}},
	{pkg: "localapi/dialect", may: []string{"edge", "edge/dial", "queue", "localapi", otherModules}},
	{pkg: "localapi", may: []string{"edge", "edge/dial", "queue", otherModules}},
	{pkg: "cmd", may: []string{everything}},
	{pkg: "packaging", may: []string{everything}},
}

const (
	everything   = "*"
	otherModules = "*.*"
)

// forbidden must not be in the binary, however it would get there: periph's own
// GPIO drivers (DESIGN.md section 2).
var forbidden = []string{"periph.io/x/host/v3/gpioioctl", "periph.io/x/host/v3/bcm283x"}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Standard   bool
}

// goList runs go list -json and decodes what it prints.
func goList(t *testing.T, args ...string) []goPackage {
	t.Helper()
	watchSources(t)
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps,Standard"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestImports(t *testing.T) {
	pkgs := goList(t, "fieldpost/...")
	if len(pkgs) < 8 {
		t.Fatalf("go list gave %d packages; the test looks at too little", len(pkgs))
	}
	for _, p := range pkgs {
		name := strings.TrimPrefix(p.ImportPath, "fieldpost/")
		may, ok := mayImport(name)
		if !ok {
			t.Errorf("%s has no row in the import rules", name)
			continue
		}
		for _, i := range p.Imports {
			if own, ours := strings.CutPrefix(i, "fieldpost/"); ours {
				if strings.HasPrefix(own, "cmd/") {
					t.Errorf("%s imports %s, and nothing may import a command", name, own)
				}
				if !allowed(may, name, own) {
					t.Errorf("%s imports %s; it may import %v", name, own, may)
				}
			} else if strings.Contains(strings.Split(i, "/")[0], ".") && !allowed(may, name, i) {
				t.Errorf("%s imports %s; it may import %v", name, i, may)
			}
		}
	}
	for _, p := range goList(t, "fieldpost/cmd/fieldpost") {
		for _, f := range forbidden {
			if slices.Contains(p.Deps, f) {
				t.Errorf("%s has %s in it", p.ImportPath, f)
			}
		}
	}
}

// mayImport finds a package's rule: the first whose path is its own or above it.
func mayImport(name string) ([]string, bool) {
	for _, r := range importRules {
		if within(name, r.pkg) {
			return r.may, true
		}
	}
	return nil, false
}

// allowed reports whether a package of a rule may import another one: of ours by
// its exact path, of other modules by what it begins with. A package may always
// import its own parts and what it is a part of.
func allowed(may []string, name, imported string) bool {
	foreign := strings.Contains(strings.Split(imported, "/")[0], ".")
	for _, m := range may {
		switch {
		case m == everything, m == otherModules && foreign, m == imported, foreign && within(imported, m):
			return true
		}
	}
	if foreign {
		return false
	}
	family, _, _ := strings.Cut(name, "/")
	return family != "edge" && within(imported, family)
}

// within reports whether path is dir or below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func TestImportRulesHold(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"queue", "go.etcd.io/bbolt", true},
		{"queue", "edge", false},
		{"queue", "github.com/eclipse/paho.mqtt.golang", false},
		{"edge", "queue", true},
		{"edge", "edge/dial", false},
		{"edge/config", "uplink", false},
		{"edge/config", "github.com/go-viper/mapstructure/v2", true},
		{"uplink", "localapi", false},
		{"uplink/uplinktest", "uplink", true},
		{"localapi", "gpio", false},
		{"localapi/dialect/cred", "localapi", true},
		{"gpio", "periph.io/x/conn/v3/gpio", true},
		{"edge/agent", "localapi", true},
	} {
		may, ok := mayImport(c.from)
		if !ok {
			t.Fatalf("%s has no rule", c.from)
		}
		if got := allowed(may, c.from, c.to); got != c.want {
			t.Errorf("%s may import %s: %v, want %v", c.from, c.to, got, c.want)
		}
	}
}
