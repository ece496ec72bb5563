package main

import (
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
)

// target is what a binary of an architecture was built for.
type target struct {
	goarch string
	goarm  string // only of 32-bit ARM
}

// targets is the table of Debian's architectures. Raspberry Pi OS calls its ARMv6
// armhf, and one package has to run on every 32-bit Pi: GOARM=7 dies on a Zero.
var targets = map[string]target{
	"amd64": {goarch: "amd64"},
	"arm64": {goarch: "arm64"},
	"armhf": {goarch: "arm", goarm: "6"},
}

// What a board of 512 MB and a slow line can bear, in bytes.
const (
	maxBinary  = 20_000_000
	maxPackage = 12_000_000
)

// checkSize refuses a file of more than most bytes.
func checkSize(path string, most int64) error {
	info, err := os.Stat(path)
	if err == nil && info.Size() > most {
		err = fmt.Errorf("%s has %d bytes: at most %d", path, info.Size(), most)
	}
	return err
}

// checkBinary refuses a binary that is not for the architecture, or not static.
func checkBinary(path, arch string) error {
	want, ok := targets[arch]
	if !ok {
		return fmt.Errorf("pack for %q: choose arm64, armhf or amd64", arch)
	}
	if err := checkSize(path, maxBinary); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read binary: %w", err)
	}
	if err := checkSettings(info.Settings, want); err != nil {
		return fmt.Errorf("pack %s for %s: %w", path, arch, err)
	}
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("read binary: %w", err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("pack %s for %s: it is not static", path, arch)
		}
	}
	return nil
}

// checkSettings compares what the Go command noted in the binary.
func checkSettings(settings []debug.BuildSetting, want target) error {
	got := map[string]string{}
	for _, s := range settings {
		got[s.Key] = s.Value
	}
	switch {
	case got["GOOS"] != "linux":
		return fmt.Errorf("it is for %s, not for linux", got["GOOS"])
	case got["GOARCH"] != want.goarch:
		return fmt.Errorf("it is for %s, not for %s", got["GOARCH"], want.goarch)
	case want.goarm != "" && got["GOARM"] != want.goarm:
		return fmt.Errorf("it is for ARMv%s, not for ARMv%s", got["GOARM"], want.goarm)
	case got["CGO_ENABLED"] != "0":
		return errors.New("it was built with cgo")
	}
	return nil
}
