package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// sizes takes the binary's size, and the package's where it was built.
func (b *bench) sizes(context.Context) error {
	binary, pkg, nats, mosquitto := less(), less(), less(), less()
	for _, f := range []struct {
		path string
		to   *measure
	}{{b.binary, binary}, {newestPackage(), pkg}, {b.nats, nats}, {found("mosquitto"), mosquitto}} {
		if st, err := os.Stat(f.path); err == nil {
			f.to.take(float64(st.Size()))
		}
	}
	b.table.add(&row{name: "binary", ours: binary, show: megabytes, bound: 20e6, peers: []peer{{"mosquitto", mosquitto, 0}, {"NATS", nats, 0}}})
	b.table.add(&row{name: "package", ours: pkg, show: megabytes, bound: 12e6})
	if !pkg.taken {
		b.table.note("package: not measured: no dist/*_%s.deb; `make deb` builds it", runtime.GOARCH)
	}
	return nil
}

// found is where a program is, or "".
func found(program string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	return path
}

// newestPackage is the last package built for this machine, or "".
func newestPackage() string {
	all, err := filepath.Glob(fmt.Sprintf("dist/fieldpost_*_%s.deb", runtime.GOARCH))
	if err != nil {
		return ""
	}
	newest, at := "", int64(0)
	for _, path := range all {
		if st, err := os.Stat(path); err == nil && st.ModTime().UnixNano() > at {
			newest, at = path, st.ModTime().UnixNano()
		}
	}
	return newest
}
